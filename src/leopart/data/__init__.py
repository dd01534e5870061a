"""Photos and masks on disk."""
