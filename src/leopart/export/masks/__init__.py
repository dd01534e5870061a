"""Masks of a run in the formats of annotation tools, trainers, GIS and spreadsheets: one module a format."""
