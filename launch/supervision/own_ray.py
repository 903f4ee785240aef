"""check_alive: notices that a Ray that this process has started has ended."""

from __future__ import annotations

import time

import ray

from distpolicy.errors import WorkerLostError

# By Ray's names. Its agents end with the raylet, and the raylet with them.
_NEEDED = {"raylet": "raylet", "gcs_server": "GCS"}

_POLL_S = 0.02


def check_alive(wait_s: float = 0.0) -> None:
    """Checks that the processes that a Ray cannot do without have not ended.

    Without the raylet, workers never come up. Without the GCS, Ray ends this process after a minute. Nothing is checked
    for a Ray that this process has joined.

    Args:
        wait_s: Seconds to wait whether one ends.

    Raises:
        WorkerLostError: If one has ended; names it.
    """
    # Ray has no public call for the processes that it has started.
    node = ray._private.worker._global_node
    if node is None or not node.all_processes:
        return
    deadline = time.monotonic() + wait_s
    while True:
        for kind, _ in node.dead_processes():
            if kind in _NEEDED:
                raise WorkerLostError(
                    f"the {_NEEDED[kind]} of the Ray that this run has started was killed or has crashed, and the run "
                    "cannot go on without it: continue it with --resume"
                )
        if time.monotonic() >= deadline:
            return
        time.sleep(_POLL_S)
