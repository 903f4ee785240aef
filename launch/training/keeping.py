"""RunKeeper: saves what a training run has learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from launch.training.checkpoint_store import Checkpoint
from launch.training.evaluation import best_return
from launch.training.observer import TrainingObserver
from launch.training.totals import TotalsTracker, TrainingTotals
from workers.collection.evaluator import EvaluationResult


class Checkpoints(Protocol):
    """The checkpoints of a run; a :class:`launch.training.checkpoint_store.CheckpointStore`."""

    @property
    def kept_parts(self) -> tuple[str, ...]:
        """Names of the parts that the learner need not hand out again."""

    def save(self, state: dict[str, np.ndarray], totals: TrainingTotals) -> Path:
        """Saves a state of the learner; returns the checkpoint's folder."""

    def load_latest(self) -> Checkpoint | None:
        """Returns the newest checkpoint, or None if there is none."""


class Policies(Protocol):
    """The exported policies of a run; a :class:`launch.training.exported_policy.ExportedPolicies`."""

    def write(self, policies: Mapping[str, Mapping[str, bytes]], is_best: bool = False) -> None:
        """Writes the newest policies, or the best ones, given each policy's files by its name."""


class RunKeeper:
    """Saves checkpoints of a training run, its newest policies and its best ones.

    Args:
        checkpoints: Saves states of the learner, and gives the newest one back.
        policies: Takes the policies; None if they are not kept.
        totals: The run's totals.
        observer: Is told of checkpoints.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        policies: Policies | None,
        totals: TotalsTracker,
        observer: TrainingObserver,
    ) -> None:
        self._checkpoints, self._policies = checkpoints, policies
        self._totals, self._observer = totals, observer
        # Updates that the newest checkpoint of this start holds; none yet.
        self._num_saved = -1

    @property
    def keeps_policies(self) -> bool:
        """Whether policies are kept."""
        return self._policies is not None

    @property
    def kept_parts(self) -> tuple[str, ...]:
        """Names of the parts of the learner's state that the newest checkpoint holds, and that never change."""
        return self._checkpoints.kept_parts

    @property
    def is_up_to_date(self) -> bool:
        """Whether the newest checkpoint holds all updates."""
        return self._num_saved == self._totals.totals.updates

    def save(self, state: dict[str, np.ndarray], policies: Mapping[str, Mapping[str, bytes]] | None) -> None:
        """Saves a checkpoint of the present totals.

        Args:
            state: The learner's state.
            policies: The files of each policy by its name; None to keep those that are there.
        """
        path = self._checkpoints.save(state, self._totals.totals)
        self._num_saved = self._totals.totals.updates
        if self._policies is not None and policies is not None:
            self._policies.write(policies)
        self._observer.on_checkpoint(path, self._totals.totals)

    def keep_if_best(
        self, results: Sequence[EvaluationResult], policies: Callable[[], dict[str, dict[str, bytes]]]
    ) -> None:
        """Keeps policies as the best if no earlier evaluation was better.

        Args:
            results: The evaluation of the policies.
            policies: Returns the files of each policy by its name.
        """
        best = best_return(results)
        if self._policies is None or not self._totals.is_best(best):
            return
        # Before it is noted: if they are lost with the learner, a later evaluation may be the best that can be kept.
        files = policies()
        self._totals.note_best(best)
        self._policies.write(files, is_best=True)

    def newest_checkpoint(self) -> Checkpoint | None:
        """Returns the newest checkpoint that is not damaged; tells the observer of damaged ones."""
        found = self._checkpoints.load_latest()
        if found is not None:
            for error in found.refused:
                self._observer.on_damaged_checkpoint(error, found.path)
        return found

    def go_back(self, totals: TrainingTotals) -> None:
        """Goes back to earlier totals, as the learner does; the next end writes a checkpoint again."""
        self._totals.go_back(totals)
        self._num_saved = -1
