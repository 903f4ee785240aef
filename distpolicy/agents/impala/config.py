"""The settings of IMPALA. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.vtrace_config import VTraceConfig


@dataclass(frozen=True)
class ImpalaConfig(VTraceConfig):
    """Settings of IMPALA, an actor-critic that corrects for the policy's lag by V-trace (Espeholt et al., 2018)."""

    kind: ClassVar[str] = "impala"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "policy_loss": "Loss of the policy",
            "value_loss": "Loss of the critic",
            "entropy": "Entropy of the policy",
            "approx_kl": "KL divergence from the policy that acted",
            "clip_fraction": "Share of steps whose ratio is clipped",
            "gradient_norm": "Norm of the gradient",
            "explained_variance": "Variance that the critic explains",
            "learning_rate": "Learning rate",
        }
    )

    max_gradient_norm: float = 40.0
    """Bound of the gradient's global norm."""
    normalize_advantages: bool = False
    """Normalise advantages to mean 0 and deviation 1 in each minibatch. As they are, they become small as the critic
    becomes right, and so do the policy's steps."""
