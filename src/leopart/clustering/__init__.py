"""Tokens to parts, parts to objects: arrays in, arrays out, no backbone needed."""
