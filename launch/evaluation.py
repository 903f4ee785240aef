"""The evaluate command: plays whole episodes of a policy, and makes videos of the best and the worst."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# Set before TensorFlow is imported: episodes are played on the CPU, and its messages are for its developers.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console

from distpolicy.errors import ConfigError, DistPolicyError, DistPolicyWarning
from distpolicy.utils.quiet import stdout_to_stderr, without_stderr
from launch.apart import apart
from launch.config.evaluate import EvaluateConfig
from launch.config.seal import check_names_of_code
from launch.config.train import TrainConfig, load_train_config
from launch.output.formatting import describe_evaluation
from launch.output.run_directory import RunDirectory, policy_folder, why_not_a_run
from launch.output.writable import check_writable
from launch.process_end import wait_for_threads
from workers.collection.evaluator import EvaluationResult, Evaluator
from workers.collection.video import check_videos_can_be_made, record_episode
from workers.collection.watchdog import Watchdog, evaluation_stacks, read_hang
from workers.environments.atari import AtariConfig
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.inference.policy_source import PolicySource, is_saved_model
from workers.last_words import end_with


class Watched(NamedTuple):
    """What an evaluation's process does, for whoever has to say why it has ended.

    Attributes:
        factory: Makes the environment.
        plays: Whether episodes are played.
    """

    factory: EnvironmentFactory
    plays: bool = False


def evaluate_apart(source: Path, config: EvaluateConfig, console: Console) -> None:
    """Does what :func:`evaluate` does, in a process of its own: the environment may hang in it, or end it.

    Args:
        source: As for :func:`evaluate`.
        config: The settings.
        console: Where to print.

    Raises:
        EnvironmentCrashedError: Also if the environment has hung, or has ended its process.
        DistPolicyError: As :func:`evaluate`.
    """
    with evaluation_stacks() as stacks:

        def play(note: Callable[[Watched], None]) -> None:
            evaluate(source, config, console, note, stacks)
            wait_for_threads()

        apart(play, lambda watched, how: _why_it_has_ended(watched, how, stacks))


def _why_it_has_ended(watched: Watched | None, how: str, stacks: Path) -> str:
    if watched is None:
        return f"the process of the evaluation has ended: {how}"
    if hang := read_hang(stacks):
        return _hang_told(watched.factory, hang.step, stacks)
    name = watched.factory.env_id
    if watched.plays:
        hint = "--vectorization async gives each environment a process, and replaces it"
        return f"env {name} ended the process that played its episodes: {how}; {hint}"
    return f"env {name} ended the process that it was made in: {how}"


def _hang_told(factory: EnvironmentFactory, step: int, stacks: Path) -> str:
    return (
        f"env {factory.env_id} hung in {f'step {step:,}' if step else 'its first reset'}: it took more than "
        f"{factory.step_timeout_s:g} s (step_timeout_s); the stacks are in {stacks}"
    )


def evaluate(
    source: Path,
    config: EvaluateConfig,
    console: Console,
    note: Callable[[Watched], None] = lambda watched: None,
    stacks: Path | None = None,
) -> EvaluationResult:
    """Plays episodes of a run's policy, or of a SavedModel.

    Args:
        source: Run directory, or the folder of a SavedModel.
        config: The settings.
        console: Where to print.
        note: Is told what the process does next.
        stacks: File for the stacks of this process, which is ended if a step hangs; None to wait for ever.

    Returns:
        Returns and lengths of the episodes.

    Raises:
        ConfigError: If the input is invalid.
        CheckpointError: If the policy is damaged.
        EnvironmentCrashedError: If an environment fails.
    """
    if config.video is not None:
        # Before the episodes are played.
        check_videos_can_be_made()
        check_writable(config.video)
    told = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True) if config.json else console
    # What an environment prints must not stand beside the JSON.
    quiet = stdout_to_stderr if config.json else contextlib.nullcontext
    with quiet():
        played = _play(source, config, note, stacks)
    # Before the videos, in which the environment may fail or end this process.
    if config.json:
        sys.stdout.write(json.dumps(_as_json(played, kind_of(source, config))) + "\n")
        sys.stdout.flush()
    else:
        inference = getattr(played.policy, "inference", "numpy")
        console.print(f"{played.factory.env_id}: {played.folder}, inference by {inference}")
        console.print(describe_evaluation(played.result, kind_of(source, config)))
        lengths = np.asarray(played.result.lengths)
        console.print(f"lengths: mean {lengths.mean():.1f}, min {lengths.min()}, max {lengths.max()}")
    if config.video is not None:
        with quiet():
            _film(played, config.video, config, told)
    return played.result


def _film(played: _Played, folder: Path, config: EvaluateConfig, console: Console) -> None:
    """Makes videos of the best and the worst episode. One that cannot be made is a warning."""
    returns, seeds = played.result.returns, played.result.seeds
    for name, number in (("best", int(np.argmax(returns))), ("worst", int(np.argmin(returns)))):
        path = folder / f"{name}-episode-{number}-return-{returns[number]:g}.mp4"
        episode = number, config.seed, config.max_episode_steps, seeds[number]
        try:
            record_episode(played.factory, played.policy, path, *episode)
        except ConfigError as error:
            # No other video could be made either.
            warnings.warn(f"no videos: {error}", DistPolicyWarning, stacklevel=1)
            break
        except DistPolicyError as error:
            warnings.warn(f"no video of the {name} episode: {error}", DistPolicyWarning, stacklevel=1)
        else:
            console.print(f"video of the {name} episode: {path}")


class _Played(NamedTuple):
    """What was evaluated, and what came out."""

    factory: EnvironmentFactory
    folder: Path
    policy: Any
    result: EvaluationResult


def _play(source: Path, config: EvaluateConfig, note: Callable[[Watched], None], stacks: Path | None) -> _Played:
    factory, folder = _environment(source, config)
    note(Watched(factory))
    time_step_spec, action_spec = probe(factory, for_training=False)
    policy_source = PolicySource(str(folder), config.inference, config.seed)
    policy_source.check(action_spec)
    factory = factory.with_seed_for_each_slot()
    # TensorFlow prints to stderr when it is imported, whatever its settings.
    with without_stderr():
        policy = policy_source(time_step_spec, action_spec).greedy()
    evaluator = Evaluator(factory, policy, config.num_envs, config.max_episode_steps)
    # Environments in processes of their own are watched one by one already.
    is_watched = stacks is not None and factory.resolved_vectorization() != "async"
    with _watchdog(evaluator, factory, stacks) if stacks and is_watched else contextlib.nullcontext() as watchdog:
        note(Watched(factory, plays=is_watched))
        result = evaluator.evaluate(config.episodes, seed=config.seed, watch=watchdog)
        note(Watched(factory))
    return _Played(factory, folder, policy, result)


@contextlib.contextmanager
def _watchdog(evaluator: Evaluator, factory: EnvironmentFactory, stacks: Path) -> Iterator[Watchdog]:
    """Yields what ends this process if a step hangs."""

    def tell() -> None:
        end_with(_hang_told(factory, evaluator.steps_begun, stacks))

    watchdog = Watchdog(stacks, factory.step_timeout_s, lambda: evaluator.steps_begun, tell)
    try:
        yield watchdog
    finally:
        watchdog.close()


def kind_of(source: Path, config: EvaluateConfig) -> str:
    """Returns what is evaluated, in a word: the greedy or the stochastic policy of a run, or another one.

    Args:
        source: As for :func:`evaluate`.
        config: The settings.
    """
    run = RunDirectory(source)
    if run.config_file.is_file():
        return "stochastic" if config.stochastic else "greedy"
    if not is_saved_model(str(source)):
        return str(source).partition(":")[0]
    kinds = {"policy": "greedy", "best_policy": "greedy", "collect_policy": "stochastic"}
    return {**kinds, "best_collect_policy": "stochastic"}.get(source.absolute().name, "saved")


def _as_json(played: _Played, kind: str) -> dict[str, Any]:
    result = played.result
    returns, lengths = np.asarray(result.returns), np.asarray(result.lengths)
    return {
        "env": played.factory.env_id,
        "policy": str(played.folder),
        "kind": kind,
        "episodes": len(returns),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std(ddof=1)) if len(returns) > 1 else None,
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
        "length_mean": float(lengths.mean()),
        "num_cut": result.num_cut,
        "num_repeated": result.num_repeated,
        "info": result.info_means,
        "returns": result.returns,
        "lengths": result.lengths,
    }


def _not_from(run: TrainConfig, config: EvaluateConfig) -> set[str]:
    """Returns the names of a run's settings that an evaluation does not take from it."""
    names = {"agent", "custom.folder", "address"}
    if config.env is not None:
        names.add("env")
    if config.wrappers or config.env not in (None, run.env):
        names.add("wrappers")
    return names


def _environment(source: Path, config: EvaluateConfig) -> tuple[EnvironmentFactory, Path]:
    """Returns the factory of the environment, and the SavedModel's folder.

    A policy's folder in a run directory, such as ``best_policy``, takes the run's environment.
    """
    run_config = source / "config.yaml"
    in_run = (source.absolute().parent / "config.yaml").is_file() and (source / "saved_model.pb").is_file()
    if not run_config.is_file() and in_run:
        run_config = source.absolute().parent / "config.yaml"
    if run_config.is_file():
        run: Any = load_train_config(run_config)
        check_names_of_code(run_config, run, _not_from(run, config))
        env = config.env or run.env
        folder = policy_folder(source, config.stochastic)
        # The run's arguments do not apply to another environment.
        kwargs = {**(run.env_kwargs if env == run.env else {}), **config.env_kwargs}
        wrappers = config.wrappers or (run.wrappers if env == run.env else ())
        vectorization = config.vectorization or run.vectorization
        atari = run.atari if env == run.env else AtariConfig()
    else:
        if config.env is None:
            if not is_saved_model(str(source)) or (source / "saved_model.pb").is_file():
                raise ConfigError(f"{source} is not a run directory, which has an environment: give --env")
            raise ConfigError(
                f"{source} is neither a run directory nor the folder of a SavedModel: {why_not_a_run(source)}"
            )
        folder = policy_folder(source, config.stochastic)
        env, kwargs, wrappers = config.env, config.env_kwargs, config.wrappers
        vectorization, atari = config.vectorization or "auto", AtariConfig()
    factory = EnvironmentFactory(
        env,
        vectorization,
        kwargs,
        wrappers=wrappers,
        atari=atari,
        step_timeout_s=config.step_timeout_s,
        info_metrics=config.info_metrics,
    )
    return factory, folder
