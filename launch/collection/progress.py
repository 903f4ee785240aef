"""CollectionProgress: the progress of a collect job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from launch.collection.resume import StartingPoint
from launch.collection.totals import CollectionTotals
from launch.output.recent_speed import RecentSpeed


@dataclass(frozen=True)
class CollectionProgress:
    """The progress of a job, without the steps of earlier jobs.

    Attributes:
        unit: The unit of the target: ``steps`` or ``episodes``.
        num_done: Number of these collected so far.
        num_asked: Number of these to collect.
        num_steps: Number of steps collected.
        num_episodes: Number of episodes that ended.
        num_bytes: Size of the dataset's shards, earlier ones included.
        elapsed_s: Seconds since the first rollout was asked for.
        steps_per_s: Steps per second over the last seconds.
        steps_without_end: Number of steps that each environment of a collector has taken since an episode ended there,
            in the collector where that is longest ago.
    """

    unit: str
    num_done: int
    num_asked: int
    num_steps: int
    num_episodes: int
    num_bytes: int
    elapsed_s: float
    steps_per_s: float
    steps_without_end: int = 0

    @property
    def eta_s(self) -> float:
        """Remaining seconds at this speed; infinite if nothing has been collected yet."""
        # Episodes may have any length, so their number grows with the steps.
        done_per_s = self.steps_per_s * self.num_done / max(self.num_steps, 1)
        return (self.num_asked - self.num_done) / done_per_s if done_per_s > 0.0 else math.inf


def progress_of(
    totals: Sequence[CollectionTotals], before: StartingPoint, num_bytes: int, elapsed_s: float, speed: RecentSpeed
) -> CollectionProgress:
    """Returns the progress of a job.

    Args:
        totals: The totals of each collector.
        before: The starting point of the job.
        num_bytes: Size of the dataset's shards.
        elapsed_s: Seconds since the first rollout was asked for.
        speed: The speed in steps, from that time on; it is told the newest number of steps.
    """
    num_steps = sum(item.num_rows for item in totals)
    num_episodes = sum(len(item.returns) for item in totals)
    steps_per_s = max(speed.add(elapsed_s, num_steps), 0.0)  # Steps that were lost are taken back.
    without_end = max(item.steps_without_end for item in totals)
    limits = before.limits
    if limits.next_steps is not None:
        num_asked = sum(limits.next_steps[slot] - step for slot, step in enumerate(before.next_steps))
        return CollectionProgress(
            "steps", num_steps, num_asked, num_steps, num_episodes, num_bytes, elapsed_s, steps_per_s, without_end
        )
    assert limits.num_episodes is not None
    num_asked = sum(limits.num_episodes.values())
    return CollectionProgress(
        "episodes", num_episodes, num_asked, num_steps, num_episodes, num_bytes, elapsed_s, steps_per_s, without_end
    )
