"""Backbones, their weights and their attention."""
