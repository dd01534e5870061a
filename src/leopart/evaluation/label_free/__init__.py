"""Foreground and objects found without labels, as in the paper, and scored on labelled photos."""
