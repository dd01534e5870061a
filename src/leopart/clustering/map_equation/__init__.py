"""Modules of a graph by the map equation: its codelength, and the search for the least."""
