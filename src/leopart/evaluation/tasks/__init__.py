"""What `leopart evaluate` scores, one task a file: options and photos in, scores out."""
