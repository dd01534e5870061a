"""Foreground and objects found without labels, as the paper does it, on labelled photos."""
