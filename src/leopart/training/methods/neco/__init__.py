"""Neighbour consistency: student and teacher must find the same tokens of other photos similar."""
