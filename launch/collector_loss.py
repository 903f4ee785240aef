"""What became of a collector that is no more, in one line."""

from __future__ import annotations

import math

from distpolicy.errors import DistPolicyError
from launch.actor_death import reason_of_death
from launch.collect_config import CollectConfig
from launch.collector_seat import CollectorSeat
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
    # Each group of slots counts its steps.
    step = math.ceil(hang.step / config.slot_groups)
    where = f"step {step:,}" if step else "its first reset"
    later = " or a later step that kept the GIL" if hang.held_gil else ""
    limit = f"{config.env} took more than {config.step_timeout_s:g} s (step_timeout_s)"
    return f"{seat} hung in {where}{later} ({place}): {limit}"
