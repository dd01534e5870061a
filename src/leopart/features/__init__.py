"""Photos to stored patch tokens, and their reduction."""
