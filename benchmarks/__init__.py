"""Ours against a naive or peer version, in one run: `make bench`.

Ratios travel between machines, times do not.
"""
