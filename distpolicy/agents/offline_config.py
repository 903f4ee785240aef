"""The settings that agents share which learn from datasets. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from distpolicy.agents.agent_config import AgentConfig, RunShape
from distpolicy.agents.experience_config import ExperienceConfig, Offline
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import check_widths


@dataclass(frozen=True)
class OfflineConfig(AgentConfig):
    """Settings of an agent that learns from datasets alone."""

    common: ClassVar[tuple[str, ...]] = ("learning_rate", "batch_size", "updates_per_call")
    # There are no rollouts that could be too old; a run refuses a lag with this reason.
    largest_policy_lag: ClassVar[int | None] = None
    _POSITIVE: ClassVar[tuple[str, ...]] = ("learning_rate", "batch_size", "updates_per_call", "max_gradient_norm")

    learning_rate: float = 1e-3
    """Adam's step size."""
    batch_size: int = 256
    """Number of transitions of a gradient step."""
    updates_per_call: int = 100
    """Number of gradient steps in one compiled call, which is one update: evaluations and checkpoints count these."""
    max_gradient_norm: float = 10.0
    """Bound of the gradient's global norm."""

    def check(self, shape: RunShape) -> None:
        """Checks that there is one learner, and that networks have no state.

        Raises:
            ConfigError: Says which setting to change.
        """
        if shape.learners > 1:
            raise ConfigError(
                f"learners above 1 is not for {self.kind}, which has the data in one process: set it to 1"
            )
        if shape.recurrent:
            raise ConfigError(
                f"network.recurrent is not for {self.kind}: a dataset holds no states of the network that learns, and "
                "its transitions are drawn one by one; set it to none"
            )

    def experience(self, shape: RunShape) -> ExperienceConfig:
        """Returns the settings by which transitions are drawn."""
        return Offline(shape.dataset, self.batch_size, self.updates_per_call)


@dataclass(frozen=True)
class OfflineCriticConfig(OfflineConfig):
    """Settings of an offline agent with critics and their target networks."""

    common: ClassVar[tuple[str, ...]] = (*OfflineConfig.common, "discount", "n_step")
    _POSITIVE: ClassVar[tuple[str, ...]] = (
        *OfflineConfig._POSITIVE,
        "n_step",
        "target_update_tau",
        "target_update_period",
    )
    _SHARES: ClassVar[tuple[str, ...]] = ("discount", "target_update_tau")

    learning_rate: float = 3e-4
    """Adam's step size."""
    discount: float = 0.99
    """Gamma."""
    n_step: int = 1
    """Number of steps whose rewards are added up before the value of the next observation."""
    critic_units: tuple[int, ...] = (64, 64)
    """Width of each dense layer of the critics."""
    target_update_tau: float = 0.005
    """Share of the critics' weights that an update of the target networks takes."""
    target_update_period: int = 1
    """Number of gradient steps between two updates of the target networks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths(f"{self.kind}.critic_units", self.critic_units)

    @property
    def reward_discount(self) -> float:
        """Gamma."""
        return self.discount

    def experience(self, shape: RunShape) -> ExperienceConfig:
        """Returns the settings by which transitions are drawn."""
        return Offline(shape.dataset, self.batch_size, self.updates_per_call, self.n_step, self.discount)
