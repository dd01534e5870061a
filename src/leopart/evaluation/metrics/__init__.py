"""Scores of masks and clusters against labels: arrays in, numbers out."""
