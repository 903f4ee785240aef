"""The settings of R2D2. This module needs no TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from distpolicy.agents.agent_config import RunShape
from distpolicy.agents.experience_config import Replay
from distpolicy.agents.off_policy_config import counted_steps
from distpolicy.agents.q_learning_config import QLearningConfig
from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class R2D2Config(QLearningConfig):
    """Settings of Q-learning by a recurrent network from replayed sequences (Kapturowski et al., 2019)."""

    kind: ClassVar[str] = "r2d2"
    takes_sequences: ClassVar[bool] = True
    _POSITIVE: ClassVar[tuple[str, ...]] = (*QLearningConfig._POSITIVE, "sequence_length")
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = (*QLearningConfig._NOT_NEGATIVE, "burn_in", "value_rescaling")

    batch_size: int = 32
    """Number of sequences of a gradient step."""
    samples_per_insert: float = 16.0
    """How often each transition is learned from on average. A gradient step takes sequence_length times batch_size."""
    n_step: int = 3
    """Number of steps whose rewards are added up before the value of a later observation."""
    sequence_length: int = 32
    """Number of steps of a sequence that are learned from; 80 in the paper."""
    burn_in: int = 16
    """Number of steps before these, which make the stored recurrent state anew; 40 in the paper."""
    value_rescaling: float = 1e-3
    """Epsilon of the function that values are rescaled by, about a square root (Pohlen et al., 2018); 0 for none."""
    td_loss: Literal["huber", "squared"] = "squared"
    """Loss of an error of the values."""

    @property
    def num_steps(self) -> int:
        """Steps of a whole sequence."""
        return self.burn_in + self.sequence_length + self.n_step

    def check(self, shape: RunShape) -> None:
        """Checks that rollouts, at whose beginnings sequences begin, leave out no step; see the base class, too.

        Raises:
            ConfigError: Says which setting to change.
        """
        super().check(shape)
        if shape.rollout_steps > self.sequence_length:
            raise ConfigError(
                f"rollout_steps {shape.rollout_steps} leaves out steps: a sequence begins with each rollout, and "
                f"{counted_steps(self.sequence_length)} of it are learned from; set rollout_steps to "
                f"{self.sequence_length} or less, or raise r2d2.sequence_length"
            )
        least = shape.collectors * shape.envs_per_collector * (shape.rollout_steps + self.num_steps)
        if self.replay_capacity < least:
            raise ConfigError(
                f"r2d2.replay_capacity {self.replay_capacity} is too small: one rollout and one sequence of all "
                f"environments take {least}"
            )

    def experience(self, shape: RunShape) -> Replay:
        """Returns the settings of a replay buffer of sequences, each of which begins with a rollout."""
        return dataclasses.replace(
            super().experience(shape), sequence_length=self.sequence_length, burn_in=self.burn_in
        )
