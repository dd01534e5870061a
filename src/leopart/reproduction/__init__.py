"""The paper's tables as data, and the work that fills them with our own numbers."""
