"""The training methods there are. A new one is a folder beside this file, and a field below."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from tyro.conf import OmitArgPrefixes

from leopart.training.methods.densecl.settings import DenseCLSettings
from leopart.training.methods.hybrid.settings import HybridSettings
from leopart.training.methods.leopart.settings import LeopartSettings
from leopart.training.methods.neco.settings import NeCoSettings
from leopart.training.methods.paka.settings import PaKASettings


@dataclass(frozen=True, kw_only=True)
class Methods:
    """Settings of each method, by the method's name."""

    leopart: OmitArgPrefixes[LeopartSettings] = field(default_factory=LeopartSettings)
    """Dense clustering, the paper's method."""
    densecl: OmitArgPrefixes[DenseCLSettings] = field(default_factory=DenseCLSettings)
    """DenseCL, the paper's baseline."""
    hybrid: OmitArgPrefixes[HybridSettings] = field(default_factory=HybridSettings)
    """Leopart's loss and DenseCL's together."""
    paka: OmitArgPrefixes[PaKASettings] = field(default_factory=PaKASettings)
    """Patch-level kernel alignment."""
    neco: OmitArgPrefixes[NeCoSettings] = field(default_factory=NeCoSettings)
    """Neighbour consistency, after NeCo."""


METHODS = tuple(found.name for found in fields(Methods))
"""Names of the methods."""
