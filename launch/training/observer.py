"""RunObserver: whoever follows a training run, and keeps its checkpoints."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from launch.supervision.faults import RunFault
from launch.training.totals import TrainingTotals, UpdateResult


class Saved(NamedTuple):
    """A state of the learner, and how far the run had come.

    Attributes:
        state: By path; None for the state that a new learner has.
        totals: The totals that it belongs to.
    """

    state: dict[str, np.ndarray] | None
    totals: TrainingTotals


class RunObserver:
    """What a run tells and asks while it goes; does nothing by itself."""

    def updated(self, outcome: UpdateResult) -> None:
        """Takes every iteration's outcome."""

    def checkpoint(self, state: dict[str, np.ndarray], totals: TrainingTotals) -> None:
        """Takes a state of the learner that is to be kept."""

    def newest_checkpoint(self) -> Saved | None:
        """The state to go back to if the learner is lost; None for that at the start."""
        return None

    def lost(self, fault: RunFault) -> None:
        """Takes note of a worker that has died or hangs; the run goes on."""

    def recovered(self, fault: RunFault) -> None:
        """Takes note of one that has been replaced."""

    def went_back(self, totals: TrainingTotals) -> None:
        """Takes note that all updates after some totals are void."""
