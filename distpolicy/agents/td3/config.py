"""The settings of TD3. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.action_kinds import ActionKind
from distpolicy.agents.off_policy_actor_critic_config import OffPolicyActorCriticConfig


@dataclass(frozen=True)
class TD3Config(OffPolicyActorCriticConfig):
    """Settings of twin delayed deep deterministic policy gradients (Fujimoto et al., 2018)."""

    kind: ClassVar[str] = "td3"
    actions: ClassVar[ActionKind] = "one of floats"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "actor_loss": "Loss of the policy",
            "critic_loss": "Loss of the critics",
            "q_mean": "Mean value of the actions",
        }
    )
    _POSITIVE: ClassVar[tuple[str, ...]] = (*OffPolicyActorCriticConfig._POSITIVE, "actor_update_period")
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = (
        *OffPolicyActorCriticConfig._NOT_NEGATIVE,
        "exploration_noise",
        "target_noise",
        "target_noise_clip",
    )

    learning_rate: float = 1e-3
    """Adam's step size."""
    target_update_period: int = 2
    """Number of gradient steps between two updates of the target networks."""
    actor_update_period: int = 2
    """Number of gradient steps of the critics for each of the actor."""
    exploration_noise: float = 0.1
    """Deviation of the noise on the collected actions, for actions scaled to [-1, 1]."""
    final_exploration_noise: float | None = None
    """The deviation at the end of the run, to which it moves linearly; None for no change."""
    exploration_correlation: float = 0.0
    """Correlation of the exploration noise of two successive steps, below 1. Above 0, collectors explore by this noise
    from the start, and do not act uniformly before. For tasks that need the same action for many steps."""
    target_noise: float = 0.2
    """Deviation of the noise on the actions whose values the critics learn, for actions scaled to [-1, 1]."""
    target_noise_clip: float = 0.5
    """Bound of this noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("exploration_correlation", 0 <= self.exploration_correlation < 1, "in [0, 1)")
        last = self.final_exploration_noise
        self._require("final_exploration_noise", last is None or last >= 0, "0 or more")
