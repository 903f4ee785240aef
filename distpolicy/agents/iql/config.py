"""The settings of IQL. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.offline_config import OfflineCriticConfig


@dataclass(frozen=True)
class IqlConfig(OfflineCriticConfig):
    """Settings of implicit Q-learning (Kostrikov et al., 2021)."""

    kind: ClassVar[str] = "iql"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "actor_loss": "Loss of the policy",
            "critic_loss": "Loss of the critics",
            "value_loss": "Loss of the value network",
            "q_mean": "Mean value of the data's actions",
            "weight_mean": "Mean weight of the actions",
        }
    )
    common: ClassVar[tuple[str, ...]] = (*OfflineCriticConfig.common, "expectile", "beta")
    _POSITIVE: ClassVar[tuple[str, ...]] = (*OfflineCriticConfig._POSITIVE, "max_weight")
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = ("beta",)
    _SHARES: ClassVar[tuple[str, ...]] = (*OfflineCriticConfig._SHARES, "expectile")

    expectile: float = 0.8
    """The expectile of the actions' values that a state's value is: 0.5 is their mean, and near 1 their maximum."""
    beta: float = 3.0
    """How much likelier the better actions of the data become. 0 is behavioural cloning."""
    max_weight: float = 100.0
    """Bound of an action's weight, the exponential of beta times its advantage."""
    reward_scale: float = 1.0
    """Factor of the rewards. beta counts advantages in units of scaled rewards."""
