"""Commands: one module each parses options, calls one function and prints."""
