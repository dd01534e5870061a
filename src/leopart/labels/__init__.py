"""Names for parts and objects: rules from ids to labels, their file, and votes of labelled photos."""
