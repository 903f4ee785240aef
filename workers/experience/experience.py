"""Experience: turns rollouts into the samples that an agent trains on."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.trajectory import Trajectory


class Sample(NamedTuple):
    """The input of one call of ``train``.

    Attributes:
        experience: A Trajectory of arrays ``[B, T, ...]``.
        weights: float32 ``[B, T]``: 0 for rows that are not a transition of the task.
        arguments: More arguments that agents may ask for, by name; see :class:`distpolicy.agents.tf_agent.TFAgent`.
        weights_version: int64 ``[B, 2]``: (generation, version) of the weights that acted in each row.
    """

    experience: Trajectory
    weights: np.ndarray
    arguments: Mapping[str, Any]
    weights_version: np.ndarray


class Experience(abc.ABC):
    """Takes rollouts and yields samples. The samples do not depend on which collectors the rollouts came from."""

    @abc.abstractmethod
    def insert(self, rollouts: Sequence[Rollout]) -> None:
        """Takes the rollouts of an update.

        Args:
            rollouts: Rollouts in any order; several may come from the same env slots, in order of time.
        """

    @abc.abstractmethod
    def due(self) -> Iterator[Sample]:
        """Yields the samples to learn from now."""

    @abc.abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Returns the state that a checkpoint has to hold, by path."""

    @abc.abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores a state from :meth:`state`."""
