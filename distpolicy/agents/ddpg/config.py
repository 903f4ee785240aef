"""The settings of DDPG. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.action_kinds import ActionKind
from distpolicy.agents.off_policy_actor_critic_config import OffPolicyActorCriticConfig


@dataclass(frozen=True)
class DDPGConfig(OffPolicyActorCriticConfig):
    """Settings of deep deterministic policy gradients (Lillicrap et al., 2016)."""

    kind: ClassVar[str] = "ddpg"
    actions: ClassVar[ActionKind] = "one of floats"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "actor_loss": "Loss of the policy",
            "critic_loss": "Loss of the critic",
            "q_mean": "Mean value of the actions",
        }
    )
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = (*OffPolicyActorCriticConfig._NOT_NEGATIVE, "ou_stddev")
    _SHARES: ClassVar[tuple[str, ...]] = (*OffPolicyActorCriticConfig._SHARES, "ou_damping")

    learning_rate: float = 1e-3
    """Adam's step size."""
    ou_stddev: float = 0.2
    """Deviation of the normal numbers that the Ornstein-Uhlenbeck noise is made of, for actions scaled to [-1, 1]."""
    ou_damping: float = 0.15
    """Share of the noise that each step removes; 1 for independent normal noise."""
