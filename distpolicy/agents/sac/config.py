"""The settings of soft actor-critic. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from distpolicy.agents.agent_config import RunShape
from distpolicy.agents.off_policy_config import OffPolicyConfig
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import check_widths


@dataclass(frozen=True)
class SACConfig(OffPolicyConfig):
    """Settings of soft actor-critic (Haarnoja et al., 2018)."""

    kind: ClassVar[str] = "sac"
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
    _POSITIVE: ClassVar[tuple[str, ...]] = (*OffPolicyConfig._POSITIVE, "initial_alpha")

    critic_units: tuple[int, ...] = (64, 64)
    """Width of each dense layer of the critics."""
    actor_learning_rate: float | None = None
    """Adam's step size for the actor; None for learning_rate."""
    alpha_learning_rate: float | None = None
    """Adam's step size for the temperature; None for learning_rate."""
    initial_alpha: float = 1.0
    """Temperature at the start: how much a unit of entropy is worth, in units of reward."""
    learn_alpha: bool = True
    """Learn the temperature, so that the policy's entropy becomes the target."""
    target_entropy: float | None = None
    """The entropy that the temperature leads to, for actions scaled to [-1, 1]; None for minus the number of an
    action's elements."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths(f"{self.kind}.critic_units", self.critic_units)
        for name in ("actor_learning_rate", "alpha_learning_rate"):
            rate = getattr(self, name)
            self._require(name, rate is None or rate > 0, "above 0")

    def check(self, shape: RunShape) -> None:
        """Checks that there is one learner, room for all environments, and a policy without a state.

        Raises:
            ConfigError: Says which setting to change.
        """
        super().check(shape)
        if shape.recurrent:
            raise ConfigError(
                f"network.recurrent is not for {self.kind}: its replay buffer holds single transitions; set it to none"
            )
