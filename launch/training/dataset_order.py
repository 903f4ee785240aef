"""DatasetOrder: updates that learn from a dataset, one after the other, without rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launch.training.pending_update import PendingRollout, PendingUpdate
from launch.training.pipeline import PIPELINE_DEPTH, UpdatePipeline
from launch.training.totals import TrainingTotals


class DatasetOrder(UpdatePipeline):
    """The learner has the data and draws from them by the number of the update. Collectors are asked for nothing."""

    def begin(self, weights: Any) -> None:
        """See :meth:`UpdatePipeline.begin`."""
        self.pending.clear()
        self._newest = self._publish(weights)

    def fill(self, totals: TrainingTotals) -> None:
        """See :meth:`UpdatePipeline.fill`."""
        while self._has_room(totals, PIPELINE_DEPTH):
            self._submit_update(totals, [])

    def oldest(self, totals: TrainingTotals, fills: bool) -> PendingUpdate | None:
        """Returns the oldest update at once."""
        return self.pending[0] if self.pending else None

    def resubmit(
        self, totals: TrainingTotals, weights: Any, lost: Sequence[PendingUpdate], kept: Sequence[PendingRollout]
    ) -> None:
        """See :meth:`UpdatePipeline.resubmit`."""
        self._newest = self._publish(weights)
        for _ in lost:
            self._submit_update(totals, [])

    def metrics(self) -> dict[str, float]:
        """Returns nothing: only updates are under way."""
        return {}
