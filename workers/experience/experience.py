"""Experience: what stands between rollouts and an agent's ``train``."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.trajectory import Trajectory


class Sample(NamedTuple):
    """What one call of ``train`` learns from.

    Attributes:
        experience: A Trajectory of arrays ``[B, T, ...]``.
        weights: float32 ``[B, T]``: 0 for what is not a transition of the task.
        arguments: What agents may ask for beside, by name; see :class:`distpolicy.agents.tf_agent.TFAgent`.
        weights_version: int64 ``[B, 2]``: (generation, version) of the weights that acted in each row.
    """

    experience: Trajectory
    weights: np.ndarray
    arguments: Mapping[str, Any]
    weights_version: np.ndarray


class Experience(abc.ABC):
    """Takes rollouts and gives samples; the same samples whatever collectors the rollouts came from."""

    @abc.abstractmethod
    def insert(self, rollouts: Sequence[Rollout]) -> None:
        """Takes the rollouts of an update.

        Args:
            rollouts: In any order; several may be of the same env slots, one after the other.
        """

    @abc.abstractmethod
    def due(self) -> Iterator[Sample]:
        """Yields what is to be learned from now."""

    @abc.abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Returns what a checkpoint has to hold, by path."""

    @abc.abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes a state from :meth:`state`."""
