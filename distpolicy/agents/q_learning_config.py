"""The settings that agents with Q-networks of discrete actions share. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.action_kinds import ActionKind
from distpolicy.agents.agent_config import RunShape
from distpolicy.agents.epsilon_schedule import EpsilonSchedule
from distpolicy.agents.off_policy_config import OffPolicyConfig
from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class QLearningConfig(OffPolicyConfig):
    """Settings of an agent that acts by the highest of its Q-values, or at random.

    Attributes:
        takes_sequences: Whether it learns from sequences, by a recurrent network, and not from single transitions.
    """

    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "q_mean": "Mean value of the actions taken",
            "td_error": "Mean absolute error of the values",
            "gradient_norm": "Norm of the gradient",
            "epsilon": "Probability of a random action",
        }
    )
    common: ClassVar[tuple[str, ...]] = (*OffPolicyConfig.common, "exploration_fraction", "epsilon_final")
    takes_sequences: ClassVar[bool] = False
    actions: ClassVar[ActionKind] = "one discrete"
    takes_action_masks: ClassVar[bool] = True
    _POSITIVE: ClassVar[tuple[str, ...]] = (*OffPolicyConfig._POSITIVE, "max_gradient_norm")
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = (*OffPolicyConfig._NOT_NEGATIVE, "epsilon_spread")
    _SHARES: ClassVar[tuple[str, ...]] = (*OffPolicyConfig._SHARES, "epsilon_final", "exploration_fraction")

    learning_rate: float = 1e-3
    """Adam's step size."""
    samples_per_insert: float = 64.0
    """How often each transition is learned from on average. A gradient step for every env step is batch_size."""
    target_update_period: int = 64
    """Number of gradient steps between two updates of the target network."""
    target_update_tau: float = 1.0
    """Share of the network's weights that an update of the target network takes."""
    max_gradient_norm: float = 10.0
    """Bound of the gradient's global norm."""
    epsilon_final: float = 0.05
    """Probability of a random action at the end."""
    exploration_fraction: float = 0.2
    """Share of the run over which the probability of a random action falls to epsilon_final, from 1."""
    epsilon_spread: float = 0.0
    """If above 0, an episode explores by a power of epsilon, drawn between 1 and 1 more than this. Ape-X has 7, with an
    epsilon_final of 0.4 (Horgan et al., 2018)."""

    def check(self, shape: RunShape) -> None:
        """Checks that the policy has a state only if it learns from sequences; see the base class for the rest.

        Raises:
            ConfigError: Says which setting to change.
        """
        super().check(shape)
        if shape.recurrent and not self.takes_sequences:
            raise ConfigError(f"network.recurrent is not for {self.kind}, which learns from single steps: take r2d2")
        if self.takes_sequences and not shape.recurrent:
            raise ConfigError(
                f"{self.kind} needs a recurrent network: set network.recurrent to lstm or gru, or take dqn"
            )

    @property
    def epsilon_schedule(self) -> EpsilonSchedule:
        """How often the collect policy acts at random."""
        return EpsilonSchedule(self.epsilon_final, self.exploration_fraction)
