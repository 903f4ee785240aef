"""OnPolicyExperience: uses every rollout once, in the update that asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distpolicy.agents.agent_training import train_arguments_of
from distpolicy.trajectories.rollout import Rollout
from distpolicy.utils.nests.array_nest import map_structure
from workers.experience.experience import Experience, Sample


class OnPolicyExperience(Experience):
    """One batch of all rollouts of an update."""

    def __init__(self) -> None:
        self._rollouts: tuple[Rollout, ...] = ()

    def insert(self, rollouts: Sequence[Rollout]) -> None:
        """Takes the rollouts of an update; drops earlier ones that were not used."""
        self._rollouts = tuple(rollouts)

    def due(self, progress: float, seed: Sequence[int]) -> Iterator[Sample]:
        """Yields the batch of all rows, once; nothing is drawn."""
        # The references are dropped, so that the object store can free the arrays.
        rollouts, self._rollouts = self._rollouts, ()
        if rollouts:
            yield sample_of(merge_rollouts(rollouts))

    def zero_sample(self, rollout: Rollout) -> Sample:
        """Returns the rollout as a sample."""
        return sample_of(rollout)

    def state(self) -> dict[str, np.ndarray]:
        """Returns an empty state: no rollout is kept after an update."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray], segments: Any = ()) -> None:
        """Does nothing; see :meth:`state`."""


def sample_of(rollout: Rollout) -> Sample:
    """Returns a rollout as a sample; the arrays are views of it."""
    return Sample(rollout.trajectory, rollout.step_weights, train_arguments_of(rollout))


def merge_rollouts(rollouts: Sequence[Rollout]) -> Rollout:
    """Returns one rollout of all rows, ordered by env slot and then by time, whichever collectors they come from."""
    ordered = sorted(rollouts, key=lambda rollout: int(rollout.first_slot))
    if len(ordered) == 1:
        return ordered[0]
    merged = {
        name: map_structure(_stack_rows, *(getattr(rollout, name) for rollout in ordered))
        for name in Rollout._fields
        if name != "first_slot"
    }
    return Rollout(**merged, first_slot=ordered[0].first_slot)


def _stack_rows(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays, axis=0)
