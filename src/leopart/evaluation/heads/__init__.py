"""Linear and convolutional heads on frozen tokens, trained with labels."""
