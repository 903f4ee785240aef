"""RunProfile: a profile of some updates of a run: TensorFlow's of the learner, and Ray's timeline of all workers."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from distpolicy.errors import DistPolicyError, DistPolicyWarning
from distpolicy.utils.atomic_files import write_file
from launch.training.observer import ObservedRun, RunEnd, TrainingObserver
from launch.training.totals import UpdateResult

# Updates before the profile begins: compiling and the first episodes are over by then. And those that it takes.
WARM_UP, NUM_UPDATES = 5, 10

# A profile ends after so many seconds, too, and its files are left out if they are larger.
MAX_S = 60.0
MAX_BYTES = 256 * 2**20

FOLDER = "profile"
TIMELINE = "timeline.json"


class ProfiledRun(ObservedRun, Protocol):
    """A run whose learner can be profiled."""

    def start_profile(self) -> None:
        """Begins a profile of the learner."""

    def stop_profile(self) -> dict[str, bytes]:
        """Ends the profile; returns its files by path."""


class RunProfile(TrainingObserver):
    """Writes the folder ``profile`` of a run directory. A profile that fails does not end the run.

    Args:
        say: Is told in a line how to open the profile.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._run: ProfiledRun | None = None
        self._num_updates = 0
        self._begun_s: float | None = None
        self._is_done = False

    def on_start(self, run: ObservedRun) -> None:
        self._run = run  # type: ignore[assignment]  # a TrainingRun

    def on_update(self, result: UpdateResult) -> None:
        self._num_updates += 1
        if self._is_done:
            return
        if self._begun_s is None:
            if self._num_updates >= WARM_UP:
                self._try(self._begin)
        elif self._num_updates >= WARM_UP + NUM_UPDATES or time.time() - self._begun_s > MAX_S:
            self._try(lambda: self._finish(result.totals.updates))

    def on_end(self, end: RunEnd) -> None:
        if not self._is_done and end.error is None:
            warnings.warn(
                f"no profile was written: it needs {WARM_UP + NUM_UPDATES} updates",
                DistPolicyWarning,
                stacklevel=2,
            )

    def _begin(self) -> None:
        assert self._run is not None
        self._run.start_profile()
        self._begun_s = time.time()

    def _finish(self, update: int) -> None:
        assert self._run is not None
        assert self._begun_s is not None
        self._is_done = True
        folder = self._run.directory.path / FOLDER
        files: Mapping[str, bytes] = self._run.stop_profile()
        if sum(map(len, files.values())) <= MAX_BYTES:
            for name, data in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write_file(folder / name, data)
        folder.mkdir(exist_ok=True)
        where = f"tensorboard --logdir {folder} (pip install xprof)"
        if write_timeline(folder / TIMELINE, self._begun_s):
            where += f"; {folder / TIMELINE} in https://ui.perfetto.dev"
        first = update - self._num_updates + WARM_UP + 1
        self._say(f"profile of updates {first} to {update}: {where}")

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except DistPolicyError as error:
            self._is_done = True
            warnings.warn(f"the run is not profiled: {error}", DistPolicyWarning, stacklevel=2)


def write_timeline(path: Path, since_s: float) -> bool:
    """Writes what Ray's workers have done, as a trace that Perfetto and chrome://tracing read.

    Args:
        path: The file.
        since_s: Clock time from which on; what was earlier is left out.

    Returns:
        Whether there is a Ray.

    Raises:
        DistPolicyError: If the file cannot be written.
    """
    import ray

    if not ray.is_initialized():
        return False
    events: list[dict[str, Any]] = ray.timeline()
    recent = [event for event in events if event.get("ph") == "M" or event.get("ts", 0.0) >= since_s * 1e6]
    write_file(path, json.dumps(recent))
    return True
