"""Experience: turns rollouts into the samples that an agent trains on."""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition

NO_SEGMENTS: Mapping[str, dict[str, np.ndarray]] = MappingProxyType({})

# Entry of a state: how many transitions were there that the state leaves out.
LEFT_OUT = "left_out"


class Sample(NamedTuple):
    """The input of one call of the agent: of ``train``, or of ``train_steps`` if it holds several batches.

    Attributes:
        experience: A Trajectory of arrays ``[B, T, ...]``, or Transitions ``[B, ...]``. With several batches each array
            has a further first dimension K.
        weights: float32 ``[B, T]``, or ``[B]`` for transitions: what each step counts in the loss; 0 for rows that are
            not a transition of the task.
        arguments: More arguments that agents may ask for, by name; see :class:`distpolicy.agents.tf_agent.TFAgent`.
        num_updates: K, the number of batches, one for each gradient step; 0 for a single batch without the dimension K.
        places: What the sample's rows are to the experience that it came from; None if it takes no feedback.
    """

    experience: Trajectory | Transition
    weights: np.ndarray
    arguments: Mapping[str, Any]
    num_updates: int = 0
    places: Any = None


class Experience(abc.ABC):
    """Takes rollouts and yields samples. The samples do not depend on which collectors the rollouts came from."""

    @abc.abstractmethod
    def insert(self, rollouts: Sequence[Rollout]) -> None:
        """Takes the rollouts of an update.

        Args:
            rollouts: Rollouts in any order; several may come from the same env slots, in order of time.
        """

    @abc.abstractmethod
    def due(self, progress: float, seed: Sequence[int]) -> Iterator[Sample]:
        """Yields the samples to learn from now. Each is drawn when it is asked for, after feedback to those before.

        Args:
            progress: The share of the run that is over, in [0, 1].
            seed: Seed of the draws; the same draws follow from the same seed.
        """

    @abc.abstractmethod
    def zero_sample(self, rollout: Rollout) -> Sample:
        """Returns a sample of zeros in the shape of all later ones, to compile an update for.

        Args:
            rollout: A rollout of zeros with the rows of all env slots of an update.
        """

    def feedback(self, sample: Sample, priorities: np.ndarray) -> None:
        """Takes new priorities for the rows of a sample. Only samples with ``places`` get any.

        Args:
            sample: The sample.
            priorities: float32 ``[K, B]``, such as the absolute errors of the values.

        Raises:
            NotImplementedError: If rows have no priorities.
        """
        raise NotImplementedError(f"{type(self).__name__} does not draw rows by priorities")

    def metrics(self) -> dict[str, float]:
        """Returns metrics of what is held, by name; empty if nothing is kept."""
        return {}

    @abc.abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Returns the state that a checkpoint has to hold, by path, without what is in segments."""

    def segments(self, kept: Collection[str]) -> tuple[list[str], dict[str, dict[str, np.ndarray]]]:
        """Returns the data that never change once they are there, in pieces that later checkpoints share.

        Args:
            kept: Names of segments that need not be returned again.

        Returns:
            The names of all segments that hold the present data, in order, and the arrays by path of each that is not
            kept. Both are empty by default.
        """
        return [], {}

    @abc.abstractmethod
    def restore(
        self, state: Mapping[str, np.ndarray], segments: Mapping[str, dict[str, np.ndarray]] = NO_SEGMENTS
    ) -> None:
        """Restores a state.

        Args:
            state: A result of :meth:`state`.
            segments: The arrays of the segments that were named with it, in their order. Those that are copied are
                taken out, so that their memory can be free.
        """
