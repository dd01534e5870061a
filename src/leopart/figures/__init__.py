"""Figures of `leopart figure`: photos and the results of the methods, on pages for print."""
