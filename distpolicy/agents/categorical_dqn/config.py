"""The settings of C51. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from distpolicy.agents.q_learning_config import QLearningConfig
from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class C51Config(QLearningConfig):
    """Settings of Q-learning of distributions over returns (Bellemare, Dabney and Munos, 2017)."""

    kind: ClassVar[str] = "c51"

    min_q_value: float = -10.0
    """The lowest return that a distribution can hold."""
    max_q_value: float = 10.0
    """The highest return that a distribution can hold: for rewards of 1 a step, 1 / (1 - discount)."""
    num_atoms: int = 51
    """Number of returns, evenly spaced from the lowest to the highest, that a distribution is over."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("num_atoms", self.num_atoms >= 2, "2 or more")
        if not self.min_q_value < self.max_q_value:
            raise ConfigError(
                f"c51.min_q_value must be below c51.max_q_value, but they are {self.min_q_value} and {self.max_q_value}"
            )
