"""Fine-tuning a backbone with the dense clustering loss, without labels."""
