"""What became of a collector that is no more, in one line."""

from __future__ import annotations

from distpolicy.errors import DistPolicyError
from launch.collection.collector_seat import CollectorSeat
from launch.config.collect import CollectConfig
from launch.supervision.actor_errors import reason_of_death, what_hung, where_it_hung
from workers.collection.watchdog import Hang


def describe_loss(config: CollectConfig, seat: CollectorSeat, hang: Hang | None, error: DistPolicyError) -> str:
    """Which collector was lost, where in the job, and why.

    Args:
        config: The job's config.
        seat: The collector's.
        hang: What its watch has left, if that ended it.
        error: What its answer was.
    """
    place = f"seed {config.seed}, generation {seat.generation}"
    if hang is None:
        return f"{seat} died ({place}): {reason_of_death(error)}"
    return f"{seat} {where_it_hung(hang, config.env_groups)} ({place}): {what_hung(config.env, config.step_timeout_s)}"
