"""record_episode: writes a video of an episode."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.error_text import one_line
from workers.collection.evaluator import EVALUATION_STREAM, MAX_EPISODE_STEPS
from workers.collection.seeding import slot_seeds
from workers.environments.deadline import deadline
from workers.environments.factory import EnvironmentFactory
from workers.environments.sync import SyncEnvironment
from workers.restart_budget import RestartBudgetConfig

DEFAULT_FPS = 30


def check_videos_can_be_made() -> None:
    """Checks that what writes videos is installed.

    Raises:
        ConfigError: If it is not.
    """
    if find_spec("imageio") is None:
        raise ConfigError("videos need imageio: pip install 'distpolicy[video]'")


def record_episode(
    factory: EnvironmentFactory,
    policy: Any,
    path: Path,
    episode: int,
    seed: int,
    max_steps: int = MAX_EPISODE_STEPS,
    environment_seed: int | None = None,
) -> float:
    """Runs an episode of an evaluation again and writes it as an mp4 file.

    Args:
        factory: Makes the environment of the evaluation.
        policy: The policy that was evaluated.
        path: The mp4 file. It is written whole or not at all. Its folder is made if it does not exist.
        episode: Number of the episode.
        seed: Seed of the evaluation.
        max_steps: Number of steps after which the episode is ended.
        environment_seed: Seed of the environment if the episode was played again; see
            :attr:`workers.collection.evaluator.EvaluationResult.seeds`. None: the one that the episode begins with.

    Returns:
        The episode's return.

    Raises:
        ConfigError: If imageio is not installed, the environment cannot be rendered, or the file cannot be written.
        EnvironmentCrashedError: If the environment fails or hangs.
    """
    check_videos_can_be_made()
    import imageio.v2 as imageio

    # Gymnasium's environments draw with pygame, which needs a screen and a sound card unless told otherwise.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    shown = dataclasses.replace(factory, kwargs={**factory.kwargs, "render_mode": "rgb_array"}, vectorization="sync")
    made: list[gym.Env] = []

    def make() -> gym.Env:
        made.append(shown.make_single())
        return made[-1]

    try:
        environment = SyncEnvironment(make, factory.env_id, 1, RestartBudgetConfig(max_restarts=0))
        environment.step_timeout_s = factory.step_timeout_s
    except DistPolicyError:
        raise
    except Exception as error:  # An environment's constructor may raise anything.
        raise _cannot_render(factory.env_id, error) from error
    seeds = slot_seeds(seed, episode, 1, generation=0, stream=EVALUATION_STREAM)
    if environment_seed is None:
        (environment_seed,) = seeds.environment
    # It has the suffix of an mp4 file, by which imageio chooses the format.
    scratch = path.with_name(f".{path.stem}.partial{path.suffix}")
    total, step_count = 0.0, 0
    try:
        fps = int(made[0].metadata.get("render_fps") or DEFAULT_FPS)
        path.parent.mkdir(parents=True, exist_ok=True)
        writer: Any = imageio.get_writer(scratch, fps=fps, macro_block_size=2)
        # On an error, imageio's own context manager leaves ffmpeg writing.
        with contextlib.closing(writer) as video:
            with deadline(factory.env_id, "the first reset of its video", factory.step_timeout_s):
                time_step, state = environment.reset([environment_seed]), policy.get_initial_state(1)
                _film(made[-1], factory.env_id, video)
            while time_step.step_type[0] != StepType.LAST and step_count < max_steps:
                with deadline(factory.env_id, f"step {step_count + 1:,} of its video", factory.step_timeout_s):
                    step = policy.action(time_step, state, seeds.rows(step_count, 1)[0])
                    time_step, state = environment.step(step.action), step.state
                    _film(made[-1], factory.env_id, video)
                total += float(time_step.reward[0])
                step_count += 1
        os.replace(scratch, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}; choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()
        environment.close()
    return total


def _film(env: gym.Env, name: str, video: Any) -> None:
    """Adds what an environment shows to a video."""
    try:
        frame = env.render()
    except Exception as error:  # An environment's render may raise anything.
        raise _cannot_render(name, error) from error
    if not isinstance(frame, np.ndarray):
        raise ConfigError(f"env {name} cannot be rendered: render() returned a {type(frame).__name__}, not an array")
    try:
        video.append_data(frame)
    except OSError:
        raise
    except Exception as error:  # An array of a shape that is no picture, or of another one than before.
        raise _cannot_render(name, error) from error


def _cannot_render(name: str, error: Exception) -> ConfigError:
    reason = f"{type(error).__name__}: {one_line(error)}"
    return ConfigError(f"env {name} cannot be rendered (render_mode rgb_array): {reason}; leave out --video")
