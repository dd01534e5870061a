"""DenseCL, the baseline of the paper: contrast of crops and of their cells."""
