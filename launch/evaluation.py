"""The evaluate command: plays whole episodes of a policy, and makes videos of the best and the worst."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Set before TensorFlow is imported: episodes are played on the CPU, and its messages are for its developers.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console

from distpolicy.errors import ConfigError
from distpolicy.utils.quiet import without_stderr
from launch.config.evaluate import EvaluateConfig
from launch.config.seal import check_names_of_code
from launch.config.train import TrainConfig, load_train_config
from launch.output.formatting import describe_evaluation
from workers.collection.evaluator import EvaluationResult, Evaluator
from workers.collection.video import record_episode
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.inference.policy_source import PolicySource


def evaluate(source: Path, config: EvaluateConfig, console: Console) -> EvaluationResult:
    """Plays episodes of a run's policy, or of a SavedModel.

    Args:
        source: Run directory, or the folder of a SavedModel.
        config: The settings.
        console: Where to print.

    Returns:
        Returns and lengths of the episodes.

    Raises:
        ConfigError: If the input is invalid.
        CheckpointError: If the policy is damaged.
        EnvironmentCrashedError: If an environment fails.
    """
    factory, folder = _environment(source, config)
    time_step_spec, action_spec = probe(factory, for_training=False)
    policy_source = PolicySource(str(folder), config.inference, config.seed)
    policy_source.check(action_spec)
    factory = factory.with_seed_for_each_slot()
    # TensorFlow prints to stderr when it is imported, whatever its settings.
    with without_stderr():
        policy = policy_source(time_step_spec, action_spec).greedy
    result = Evaluator(factory, policy).evaluate(config.episodes, seed=config.seed)
    console.print(
        f"{factory.env_id}: {folder}, inference by {getattr(policy, 'inference', 'numpy')}",
    )
    console.print(describe_evaluation(result))
    lengths = np.asarray(result.lengths)
    console.print(f"lengths: mean {lengths.mean():.1f}, min {lengths.min()}, max {lengths.max()}")
    if config.video is not None:
        for name, number in (("best", int(np.argmax(result.returns))), ("worst", int(np.argmin(result.returns)))):
            path = config.video / f"{name}-episode-{number}-return-{result.returns[number]:g}.mp4"
            record_episode(factory, policy, path, number, config.seed)
            console.print(f"video of the {name} episode: {path}")
    return result


def _not_from(run: TrainConfig, config: EvaluateConfig) -> set[str]:
    """Returns the names of a run's settings that an evaluation does not take from it."""
    names = {"agent", "custom.folder", "address"}
    if config.env is not None:
        names.add("env")
    if config.wrappers or config.env not in (None, run.env):
        names.add("wrappers")
    return names


def _environment(source: Path, config: EvaluateConfig) -> tuple[EnvironmentFactory, Path]:
    """Returns the factory of the environment, and the SavedModel's folder."""
    run_config = source / "config.yaml"
    if run_config.is_file():
        run: Any = load_train_config(run_config)
        check_names_of_code(run_config, run, _not_from(run, config))
        env, folder = config.env or run.env, source / "policy"
        # The run's arguments do not apply to another environment.
        kwargs = config.env_kwargs or (run.env_kwargs if env == run.env else {})
        wrappers = config.wrappers or (run.wrappers if env == run.env else ())
        vectorization = config.vectorization or run.vectorization
        if not folder.is_dir():
            raise ConfigError(
                f"{source} has no policy yet: a run writes it when it ends; continue it with distpolicy train --resume"
            )
    else:
        if config.env is None:
            raise ConfigError(f"{source} is not a run directory: give --env, if it is the folder of a SavedModel")
        env, folder, kwargs, wrappers = config.env, source, config.env_kwargs, config.wrappers
        vectorization = config.vectorization or "auto"
    return EnvironmentFactory(env, vectorization, kwargs, wrappers=wrappers), folder
