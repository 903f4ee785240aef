"""The settings of APPO. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from distpolicy.agents.vtrace_config import VTraceConfig


@dataclass(frozen=True)
class APPOConfig(VTraceConfig):
    """Settings of asynchronous PPO: a clipped surrogate on V-trace advantages, beside a target network."""

    kind: ClassVar[str] = "appo"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "policy_loss": "Loss of the policy",
            "value_loss": "Loss of the critic",
            "entropy": "Entropy of the policy",
            "approx_kl": "KL divergence from the target network",
            "clip_fraction": "Share of steps whose ratio is clipped",
            "gradient_norm": "Norm of the gradient",
            "explained_variance": "Variance that the critic explains",
            "learning_rate": "Learning rate",
            "clip_range": "Clip range",
        }
    )
    _POSITIVE: ClassVar[tuple[str, ...]] = (
        *VTraceConfig._POSITIVE,
        "clip_range",
        "clip_behaviour_ratio",
        "target_update_period",
        "target_update_tau",
    )
    _SHARES: ClassVar[tuple[str, ...]] = (*VTraceConfig._SHARES, "target_update_tau")

    num_epochs: int = 10
    """Number of passes over each batch."""
    clip_range: float = 0.2
    """Maximum distance of the policy's probability ratio to the target network from 1, at the start."""
    clip_range_schedule: Literal["constant", "linear"] = "constant"
    """Schedule of the clip range; linear lets it fall to 0 over the run's env steps."""
    clip_behaviour_ratio: float = 2.0
    """Bound of the ratio of the policy that acted to the target network, in the surrogate."""
    target_update_period: int = 1
    """Number of updates after which the target network takes the policy's weights. With 1 it is the policy as it was
    before the update."""
    target_update_tau: float = 1.0
    """Share by which the target network's weights move towards the policy's then."""
