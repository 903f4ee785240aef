"""The settings of soft actor-critic. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.action_kinds import ActionKind
from distpolicy.agents.off_policy_actor_critic_config import OffPolicyActorCriticConfig


@dataclass(frozen=True)
class SACConfig(OffPolicyActorCriticConfig):
    """Settings of soft actor-critic (Haarnoja et al., 2018)."""

    kind: ClassVar[str] = "sac"
    actions: ClassVar[ActionKind] = "one discrete or floats"
    takes_action_masks: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "actor_loss": "Loss of the policy",
            "critic_loss": "Loss of the critics",
            "alpha_loss": "Loss of the temperature",
            "alpha": "Temperature",
            "entropy": "Entropy of the policy",
            "q_mean": "Mean value of the actions",
        }
    )
    _POSITIVE: ClassVar[tuple[str, ...]] = (*OffPolicyActorCriticConfig._POSITIVE, "initial_alpha")
    _FOR_FLOATS: ClassVar[tuple[str, ...]] = ("exploration_correlation",)

    alpha_learning_rate: float | None = None
    """Adam's step size for the temperature; None for learning_rate."""
    initial_alpha: float = 1.0
    """Temperature at the start: how much a unit of entropy is worth, in units of reward."""
    learn_alpha: bool = True
    """Learn the temperature, so that the policy's entropy becomes the target."""
    target_entropy: float | None = None
    """The entropy that the temperature leads to. For actions of floats scaled to [-1, 1], None is minus the number of
    an action's elements. For a discrete action it is a share of the highest possible entropy, and None is 0.98."""

    exploration_correlation: float = 0.0
    """Correlation of the exploration noise of two successive steps, below 1. Above 0, collectors explore by this noise
    from the start, and do not act uniformly before. For tasks that need the same action for many steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("exploration_correlation", 0 <= self.exploration_correlation < 1, "in [0, 1)")
        self._require_rate("alpha_learning_rate")
