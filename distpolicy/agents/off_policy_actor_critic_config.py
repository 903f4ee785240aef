"""The settings that off-policy agents with an actor and critics share. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from distpolicy.agents.agent_config import RunShape
from distpolicy.agents.off_policy_config import OffPolicyConfig
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import check_widths


@dataclass(frozen=True)
class OffPolicyActorCriticConfig(OffPolicyConfig):
    """Settings of an agent that learns an actor by critics from a replay buffer."""

    critic_units: tuple[int, ...] = (64, 64)
    """Width of each dense layer of the critics."""
    actor_learning_rate: float | None = None
    """Adam's step size for the actor; None for learning_rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths(f"{self.kind}.critic_units", self.critic_units)
        self._require_rate("actor_learning_rate")

    def _require_rate(self, name: str) -> None:
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
