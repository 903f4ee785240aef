"""The settings of behavioural cloning. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.offline_config import OfflineConfig


@dataclass(frozen=True)
class BehavioralCloningConfig(OfflineConfig):
    """Settings of behavioural cloning (Pomerleau, 1991)."""

    kind: ClassVar[str] = "bc"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType({"gradient_norm": "Norm of the gradient"})
