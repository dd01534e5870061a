"""Which device to compute on."""

from __future__ import annotations

import torch

from leopart.errors import LeopartError


def pick_device(wanted: str = "auto") -> torch.device:
    """The device called `wanted`; `auto` takes the first of CUDA, MPS and the CPU that is there.

    Raises:
        LeopartError: no such device here.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise LeopartError(f"unknown device {wanted!r}: choose auto, cpu, cuda, cuda:N or mps") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise LeopartError(f"unknown device {wanted!r}: choose auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        message = (
            f"there is no device {wanted} here ({torch.cuda.device_count()} CUDA devices): choose auto or cpu"
        )
        raise LeopartError(message)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise LeopartError("there is no device mps here: choose auto or cpu")
    return device
