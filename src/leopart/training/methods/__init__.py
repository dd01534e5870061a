"""Training methods, a folder each: settings, networks, loss, and the learner that puts them together."""
