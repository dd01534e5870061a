"""Labelled sets of photos, one layout a module."""
