"""The settings of DQN. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from distpolicy.agents.epsilon_schedule import EpsilonSchedule
from distpolicy.agents.q_learning_config import QLearningConfig
from distpolicy.errors import ConfigError


@dataclass(frozen=True)
class DQNConfig(QLearningConfig):
    """Settings of deep Q-learning (Mnih et al., 2015)."""

    kind: ClassVar[str] = "dqn"

    double_q: bool = True
    """Whether the network itself, and not its target, picks the next action (van Hasselt et al., 2016)."""
    dueling: bool = False
    """Whether the last layer of network.actor_units is one for the state's value and one for the actions' advantages
    (Wang et al., 2016)."""
    exploration: Literal["epsilon", "noisy"] = "epsilon"
    """How collectors explore: by random actions, as epsilon_final and its like say, or by learned noise in the weights
    of network.actor_units and of the outputs (Fortunato et al., 2018)."""
    td_loss: Literal["huber", "squared"] = "huber"
    """Loss of an error of the values. Huber's bounds its gradient to 1; where values are large, and an episode's end
    changes them at once, the squared error learns more of it."""

    @property
    def epsilon_schedule(self) -> EpsilonSchedule:
        """How often the collect policy acts at random."""
        return super().epsilon_schedule if self.exploration == "epsilon" else EpsilonSchedule(0.0, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exploration == "noisy" and self.epsilon_spread:
            raise ConfigError("dqn.epsilon_spread is for dqn.exploration epsilon: set it to 0 with noisy networks")
