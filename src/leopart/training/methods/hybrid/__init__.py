"""Leopart's loss and DenseCL's together."""
