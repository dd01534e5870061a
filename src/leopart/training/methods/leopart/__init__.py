"""Leopart: dense clustering of the parts that crops of a photo share."""
