"""The settings that off-policy agents share. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from distpolicy.agents.agent_config import AgentConfig, RunShape
from distpolicy.agents.experience_config import Replay
from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class OffPolicyConfig(AgentConfig):
    """Settings of an agent that learns from a replay buffer."""

    common: ClassVar[tuple[str, ...]] = ("learning_rate", "batch_size", "samples_per_insert", "replay_capacity")
    # Rows of any age are learned from.
    largest_policy_lag: ClassVar[int | None] = None
    deploys_collect_policy: ClassVar[bool] = False
    takes_network_continuous: ClassVar[bool] = False
    _POSITIVE: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "replay_capacity",
        "batch_size",
        "updates_per_call",
        "samples_per_insert",
        "n_step",
        "reward_scale",
        "target_update_period",
        "target_update_tau",
    )
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = ("learning_starts", "priority_exponent")
    _SHARES: ClassVar[tuple[str, ...]] = ("discount", "target_update_tau", "importance_exponent")

    learning_rate: float = 3e-4
    """Adam's step size."""
    discount: float = 0.99
    """Gamma."""
    replay_capacity: int = 100_000
    """Number of steps that the replay buffer keeps, over all environments."""
    batch_size: int = 256
    """Number of samples of a gradient step."""
    samples_per_insert: float = 256.0
    """How often each transition is learned from on average. A gradient step for every env step is batch_size."""
    updates_per_call: int = 32
    """Number of gradient steps in one compiled call. More are faster; the weights are published after all of them."""
    learning_starts: int = 1_000
    """Number of transitions before the first gradient step. Actions are random until then."""
    n_step: int = 1
    """Number of steps whose rewards are added up before the value of the next observation."""
    reward_scale: float = 1.0
    """Factor of the rewards. Values of 0.01 are learned very slowly: returns of about 1 or more are learned well."""
    target_update_period: int = 1
    """Number of gradient steps between two updates of the target networks."""
    target_update_tau: float = 0.005
    """Share of the networks' weights that an update of the target networks takes."""
    priority_exponent: float = 0.0
    """How much large errors are preferred when samples are drawn (Schaul et al., 2016); 0 for not at all."""
    importance_exponent: float = 0.4
    """How much of the bias of preferring them is corrected at the start. It grows to 1 over the run."""
    checkpoint_replay: bool = True
    """Keep the replay buffer in checkpoints. Each writes the steps that are new, and now and then some older ones anew.
    Without it, a run that goes on collects learning_starts steps again before it learns, and counts what was lost."""

    @property
    def reward_discount(self) -> float:
        """Gamma."""
        return self.discount

    def check(self, shape: RunShape) -> None:
        """Checks that there is one learner, and that the replay buffer has room for the run's environments.

        Raises:
            ConfigError: Says which setting to change.
        """
        if shape.learners > 1:
            raise ConfigError(
                f"learners above 1 is not for {self.kind}: its gradient steps are one compiled function, with one "
                "replay buffer; set learners to 1"
            )
        least = shape.collectors * shape.envs_per_collector * (shape.rollout_steps + self.n_step)
        if self.replay_capacity < least:
            raise ConfigError(
                f"{self.kind}.replay_capacity {self.replay_capacity} is too small: one rollout of all environments, "
                f"and the {counted_steps(self.n_step)} after it, take {least}"
            )

    def experience(self, shape: RunShape) -> Replay:
        """Returns the settings of the replay buffer."""
        return Replay(
            capacity=self.replay_capacity,
            batch_size=self.batch_size,
            num_updates=self.updates_per_call,
            samples_per_insert=self.samples_per_insert,
            min_size=self.learning_starts,
            n_step=self.n_step,
            discount=self.discount,
            priority_exponent=self.priority_exponent,
            importance_exponent=self.importance_exponent,
            in_checkpoints=self.checkpoint_replay,
        )


def counted_steps(count: int) -> str:
    """Returns ``1 step`` or ``5 steps``."""
    return f"{count} step" if count == 1 else f"{count} steps"
