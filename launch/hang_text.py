"""What is told of a collector that hung."""

from __future__ import annotations

import math

from workers.hang_watch import Hang


def where_it_hung(hang: Hang, num_groups: int = 1) -> str:
    """``hung in step 41``.

    Args:
        hang: What the collector's watch has left.
        num_groups: Groups that its slots are stepped in, each of which counts its steps.
    """
    step = math.ceil(hang.step / num_groups)
    where = f"step {step:,}" if step else "its first reset"
    later = " or a later step that kept the GIL" if hang.held_gil else ""
    return f"hung in {where}{later}"


def what_hung(env: str, step_timeout_s: float) -> str:
    """Which env, and the limit that it overran."""
    return f"{env} took more than {step_timeout_s:g} s (step_timeout_s)"
