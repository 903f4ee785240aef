"""How a peer's process is told to take a turn, and answers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version


def answer_turns(rollout: Callable[[], int], packages: Sequence[str], least_s: float = 0.4) -> None:
    """Says which versions these are, and then takes a turn for each line on stdin until that is closed.

    Args:
        rollout: Collects, and returns the number of steps.
        packages: Distributions whose versions matter.
        least_s: Seconds that a turn takes at least.
    """
    # What libraries print goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    rollout()
    print(json.dumps({"versions": {name: version(name) for name in packages}}), file=answers, flush=True)
    for _ in sys.stdin:
        num_steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < least_s:
            num_steps += rollout()
        seconds = time.perf_counter() - start
        print(json.dumps({"steps_per_s": num_steps / seconds}), file=answers, flush=True)
