"""The training methods there are. A new one is a folder beside this file, and a field below."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from tyro.conf import OmitArgPrefixes

from leopart.training.methods.densecl.settings import DenseCLSettings
from leopart.training.methods.leopart.settings import LeopartSettings


@dataclass(frozen=True, kw_only=True)
class Methods:
    """Settings of each method, by the method's name."""

    leopart: OmitArgPrefixes[LeopartSettings] = field(default_factory=LeopartSettings)
    """Dense clustering, the paper's method."""
    densecl: OmitArgPrefixes[DenseCLSettings] = field(default_factory=DenseCLSettings)
    """DenseCL, the paper's baseline."""


METHODS = tuple(found.name for found in fields(Methods))
"""Names of the methods."""
