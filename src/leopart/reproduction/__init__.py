"""The tables of the paper as data, and the work that fills them with numbers measured here."""
