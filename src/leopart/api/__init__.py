"""Functions for Python programs: what the commands do, on paths, arrays and networks of one's own."""
