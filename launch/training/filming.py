"""EpisodeVideos: films episodes of a run's policy at its end, for the run directory and for TensorBoard."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.errors import DistPolicyWarning
from distpolicy.utils.error_text import one_line
from launch.output.own_process import module_command, module_environment
from launch.output.tensorboard import TensorBoardWriter
from launch.output.tensorboard_plugins import animation_value
from launch.training.observer import ObservedRun, RunEnd, TrainingObserver
from workers.collection.video import check_videos_can_be_made

FOLDER = "videos"

# Episodes that are played; the best and the worst are filmed.
_NUM_EPISODES = 8
_TIMEOUT_S = 300.0

# TensorBoard keeps animations in memory: at most so many frames, of so many pixels across.
_MAX_FRAMES, _MAX_WIDTH = 120, 300
_FRAME_MS = 50


class EpisodeVideos(TrainingObserver):
    """Films the best and the worst of some episodes when a run is over. What goes wrong is a warning.

    The episodes are played by ``distpolicy evaluate`` in a process of its own: this one needs neither TensorFlow nor
    the environment.

    Args:
        say: Is told in a line where the videos are.

    Raises:
        ConfigError: If imageio is not installed.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        check_videos_can_be_made()
        self._say = say
        self._run: ObservedRun | None = None

    def on_start(self, run: ObservedRun) -> None:
        self._run = run

    def on_end(self, end: RunEnd) -> None:
        if end.error is not None:
            return
        assert self._run is not None
        run = self._run.directory.path
        try:
            _film(run, run / FOLDER)
            films = sorted((run / FOLDER).glob("*.mp4"))
            writer = TensorBoardWriter(run)
            writer.add_values([_animation(path) for path in films], end.totals.steps)
            writer.close()
        except Exception as error:  # An environment's render, ffmpeg and imageio may raise anything.
            warnings.warn(f"the episodes were not filmed: {one_line(error)}", DistPolicyWarning, stacklevel=2)
        else:
            self._say(f"videos: {run / FOLDER}")


def _film(run: Path, folder: Path) -> None:
    """Plays episodes of a run's policy, and writes videos of the best and the worst.

    Raises:
        RuntimeError: If that fails; says why.
    """
    options = ("--episodes", str(_NUM_EPISODES), "--video", str(folder))
    done = subprocess.run(
        module_command("launch", "evaluate", str(run), *options),
        env=module_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise RuntimeError(last.removeprefix("distpolicy: error: "))


def _animation(path: Path) -> Any:
    """Returns a video as a small animation for TensorBoard, under the tag ``videos/best`` or ``videos/worst``."""
    import imageio.v3 as imageio

    frames = imageio.imread(path)
    every = max(-(-len(frames) // _MAX_FRAMES), 1)
    step = max(-(-frames.shape[2] // _MAX_WIDTH), 1)
    small = np.ascontiguousarray(frames[::every, ::step, ::step])
    gif = imageio.imwrite("<bytes>", small, extension=".gif", duration=_FRAME_MS, loop=0)
    return animation_value(f"videos/{path.name.partition('-')[0]}", gif, small.shape[1], small.shape[2])
