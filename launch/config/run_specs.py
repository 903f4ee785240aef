"""The specs of a training run's steps, and the environment of a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from distpolicy.agents.action_kinds import IN_WORDS, fits
from distpolicy.agents.action_masks import seen_by_networks
from distpolicy.agents.agent_config import agent_kinds
from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.agents.offline_config import OfflineConfig
from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import BoundedArraySpec, is_discrete
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.utils.module_names import why_not_there
from distpolicy.utils.nests.array_nest import flatten, paths
from launch.apart import apart
from launch.config.collect import load_collect_config
from launch.config.seal import check_names_of_code
from launch.config.train import TrainConfig
from workers.environments.atari import AtariConfig
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import check_trainable, probe


def check_agent_is_there(config: TrainConfig) -> None:
    """Checks that the function of an agent of the user's own is there, without importing its module.

    Args:
        config: The run's config. Agents of other kinds pass.

    Raises:
        ConfigError: If there is no such module, or it has no such function.
    """
    agent = config.agent
    if not isinstance(agent, CustomAgentConfig) or not isinstance(agent.factory, str):
        return
    module, _, name = agent.factory.partition(":")
    if module == "__main__":
        raise ConfigError(f"agent {agent.name} was defined in a script: give it, as in TrainingRun(..., agent={name})")
    if reason := why_not_there(module, name, agent.folder):
        raise ConfigError(f"agent {agent.name}: {reason}")


def env_specs(
    factory: EnvironmentFactory, for_training: bool = True, in_this_process: bool = False
) -> EnvironmentSpecs:
    """Returns the specs of an environment, which is made in a process of its own and closed again.

    Args:
        factory: Makes the environment.
        for_training: Whether its spaces have to be such that networks can be trained on them.
        in_this_process: Whether it is made in this process, as for a debugger.

    Raises:
        ConfigError: If the environment cannot be made, or its spaces are not supported.
        EnvironmentCrashedError: If it hangs, or ends its process.
    """
    if in_this_process:
        return probe(factory, for_training)
    return apart(
        lambda note: probe(factory, for_training),
        lambda note, how: f"env {factory.env_id} ended the process that it was made in: {how}",
    )


def run_specs(config: TrainConfig, factory: EnvironmentFactory, in_this_process: bool = False) -> EnvironmentSpecs:
    """Returns the specs of the steps that a run learns from: the environment's, or those of its dataset.

    The environment is made only if the run needs it.

    Args:
        config: The run's config.
        factory: Makes the environment.
        in_this_process: As for :func:`env_specs`.

    Raises:
        ConfigError: If there is no dataset although the agent needs one, the environment cannot be made, its spaces are
            not supported, the agent does not learn its actions, ``action_mask`` names no mask of them, or the
            environment has other observations or actions than the dataset.
        CheckpointError: If a dataset is damaged.
    """
    if not config.is_offline:
        specs = env_specs(factory, in_this_process=in_this_process)
        _check_actions(specs, config, f"env {factory.env_id}")
        seen_by_networks(specs, config.action_mask)
        return specs
    if not config.dataset:
        raise ConfigError(
            f"{config.agent.kind} learns from data: give --dataset FOLDER, as distpolicy collect --out makes it"
        )
    for folder in config.dataset:
        _check_is_dataset(folder)
    # Imported here: other runs do not need pyarrow.
    from workers.datasets.arrays import dataset_specs

    specs = dataset_specs(config.dataset)
    check_trainable(specs, f"dataset {config.dataset[0]}")
    _check_actions(specs, config, f"dataset {config.dataset[0]}")
    if config.uses_collectors:
        _check_alike(specs, env_specs(factory, in_this_process=in_this_process), config)
    return specs


def with_env_of_dataset(config: TrainConfig, has_kwargs: bool, keeps_wrappers: bool) -> TrainConfig:
    """Returns a run's config with the environment of its first dataset, where that says what it is.

    Args:
        config: The run's config.
        has_kwargs: Whether ``env_kwargs`` stay, and change those of the dataset.
        keeps_wrappers: Whether ``wrappers`` stay as they are.

    Raises:
        ConfigError: If there is no such dataset, or it names code, was written by somebody else, and the run needs the
            environment.
    """
    # Imported here, as below: runs without a dataset do not need to read one, and begin sooner.
    from workers.datasets.files import CONFIG_FILE, file_beside_shards
    from workers.datasets.manifest import DatasetManifest

    folder = config.dataset[0]
    own_kwargs = config.env_kwargs if has_kwargs else {}
    _check_is_dataset(folder)
    file = file_beside_shards(folder, CONFIG_FILE)
    if not file.exists():
        # As it was imported, or written by code of the user's own.
        manifest = DatasetManifest.load(folder)
        is_registered = bool(manifest.env_id) and ":" not in manifest.env_id
        kwargs = {**manifest.env_kwargs, **own_kwargs}
        return dataclasses.replace(config, env=manifest.env_id, env_kwargs=kwargs) if is_registered else config
    written = load_collect_config(file)
    try:
        # The policy and the address that it was collected with are not used here.
        check_names_of_code(file, dataclasses.replace(written, policy="random", address=None))
    except ConfigError:
        if config.uses_collectors:
            raise
        return config
    return dataclasses.replace(
        config,
        env=written.env,
        env_kwargs={**written.env_kwargs, **own_kwargs},
        wrappers=config.wrappers if keeps_wrappers else written.wrappers,
        atari=written.atari if config.atari == AtariConfig() else config.atari,
    )


def describe_data(config: TrainConfig, factory: EnvironmentFactory) -> str:
    """Returns in one line what a run learns from, and the environments and collectors that it has.

    Args:
        config: The run's config.
        factory: Makes the environment.
    """
    learned_from = f"learning from {' '.join(config.dataset)}"
    if not config.uses_collectors:
        return f"{learned_from}, without evaluations"
    collectors = f"{config.describe_collectors()} x {config.envs_per_collector} envs, {factory.describe()}"
    if config.is_offline:
        return f"{learned_from}; evaluations on {config.env}: {collectors}"
    return f"{config.env}: {collectors}"


def _check_is_dataset(folder: str) -> None:
    from workers.datasets.files import MANIFEST_FILE, file_beside_shards

    manifest = file_beside_shards(folder, MANIFEST_FILE)
    if not manifest.exists():
        there = "it has no" if Path(folder).is_dir() else "there is no"
        raise ConfigError(
            f"dataset {folder} is not a dataset: {there} {manifest.name}; distpolicy collect --out makes one"
        )


def _check_actions(specs: EnvironmentSpecs, config: TrainConfig, whose: str) -> None:
    """Checks that an agent and its settings are for such actions; the error names agents or the setting."""
    kind = config.agent.actions
    if fits(kind, specs.action):
        config.agent.check_actions(specs.action)
        return
    others = [
        name
        for name, other in agent_kinds().items()
        if fits(other.actions, specs.action)
        and issubclass(other, OfflineConfig) == config.is_offline
        and other is not CustomAgentConfig
    ]
    raise ConfigError(
        f"{config.agent.kind} learns {IN_WORDS[kind]}, and {whose} has the action {_described(specs.action)}: take "
        f"--agent {' or '.join(others)}"
    )


def _check_alike(specs: EnvironmentSpecs, of_env: EnvironmentSpecs, config: TrainConfig) -> None:
    for what, ours, theirs in (
        ("observation", specs.time_step.observation, of_env.time_step.observation),
        ("action", specs.action, of_env.action),
    ):
        if (found := _described(ours)) != (expected := _described(theirs)):
            raise ConfigError(
                f"env {config.env} has the {what} {expected}, and {config.dataset[0]} has {found}: give the --env that "
                "the data are from, or --eval-episodes 0 to go without one"
            )


def _described(nest: Any) -> str:
    return ", ".join(
        f"{path}{' ' if path else ''}{spec.dtype.name}{list(spec.shape)}{_range(spec)}"
        for path, spec in zip(paths(nest), flatten(nest), strict=True)
    )


def _range(spec: Any) -> str:
    """Returns the bounds of integers, which decide the size of networks; empty for other numbers."""
    if not (isinstance(spec, BoundedArraySpec) and is_discrete(spec)):
        return ""
    return f" from {np.min(spec.minimum)} to {np.max(spec.maximum)}"
