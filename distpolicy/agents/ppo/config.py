"""The settings of PPO. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from distpolicy.agents.actor_critic_config import ActorCriticConfig


@dataclass(frozen=True)
class PPOConfig(ActorCriticConfig):
    """Settings of proximal policy optimisation (Schulman et al., 2017)."""

    kind: ClassVar[str] = "ppo"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "policy_loss": "Loss of the policy",
            "value_loss": "Loss of the critic",
            "entropy": "Entropy of the policy",
            "approx_kl": "KL divergence of an update",
            "clip_fraction": "Share of steps whose ratio is clipped",
            "gradient_norm": "Norm of the gradient",
            "explained_variance": "Variance that the critic explains",
            "learning_rate": "Learning rate",
            "clip_range": "Clip range",
        }
    )
    _POSITIVE: ClassVar[tuple[str, ...]] = (*ActorCriticConfig._POSITIVE, "clip_range")
    _SHARES: ClassVar[tuple[str, ...]] = (*ActorCriticConfig._SHARES, "gae_lambda")

    # The clipped ratio bounds what rollouts of slightly older weights can do, but does not correct for them.
    largest_policy_lag: ClassVar[int | None] = 2

    num_epochs: int = 10
    """Number of passes over each batch."""
    clip_range: float = 0.2
    """Maximum distance of the probability ratio from 1, at the start."""
    clip_range_schedule: Literal["constant", "linear"] = "constant"
    """Schedule of the clip range; linear lets it fall to 0 over the run's env steps."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation."""
