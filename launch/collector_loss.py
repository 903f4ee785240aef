"""What became of a collector that is no more, in one line."""

from __future__ import annotations

from distpolicy.errors import DistPolicyError
from launch.actor_death import reason_of_death
from launch.collect_config import CollectConfig
from launch.collector_seat import CollectorSeat
from launch.hang_text import what_hung, where_it_hung
from workers.hang_watch import Hang


def describe_loss(config: CollectConfig, seat: CollectorSeat, hang: Hang | None, error: DistPolicyError) -> str:
    """Which collector was lost, where in the job, and why.

    Args:
        config: The job's config.
        seat: The collector's.
        hang: What its watch has left, if that ended it.
        error: What its answer was.
    """
    place = f"seed {config.seed}, epoch {seat.epoch}"
    if hang is None:
        return f"{seat} died ({place}): {reason_of_death(error)}"
    return f"{seat} {where_it_hung(hang, config.slot_groups)} ({place}): {what_hung(config.env, config.step_timeout_s)}"
