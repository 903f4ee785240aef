"""The settings of DQN. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from distpolicy.agents.q_learning_config import QLearningConfig


@dataclass(frozen=True)
class DQNConfig(QLearningConfig):
    """Settings of deep Q-learning (Mnih et al., 2015)."""

    kind: ClassVar[str] = "dqn"

    double_q: bool = True
    """Whether the network itself, and not its target, picks the next action (van Hasselt et al., 2016)."""
    dueling: bool = False
    """Whether the last layer of network.actor_units is one for the state's value and one for the actions' advantages
    (Wang et al., 2016)."""
    td_loss: Literal["huber", "squared"] = "huber"
    """Loss of an error of the values. Huber's bounds its gradient to 1; where values are large, and an episode's end
    changes them at once, the squared error learns more of it."""
