"""StartingPoint: the steps at which a collect job begins, and the checks of its folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from distpolicy.errors import ConfigError
from launch.config.codec import to_dict
from launch.config.collect import CollectConfig, load_collect_config
from launch.output.writable import check_writable
from workers.datasets.episode_index import SlotLimits
from workers.datasets.files import CONFIG_FILE, MANIFEST_FILE, file_beside_shards
from workers.datasets.manifest import DatasetManifest, prepare_resume
from workers.datasets.reader import count_episodes


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """The point at which a job begins.

    Attributes:
        manifest: The manifest of earlier jobs; None for a new dataset.
        generation: The generation of this job's first collectors.
        next_steps: The step at which each slot begins.
        limits: The limits at which slots stop.
    """

    manifest: DatasetManifest | None
    generation: int
    next_steps: Sequence[int]
    limits: SlotLimits

    @classmethod
    def new(cls, out: Path, config: CollectConfig) -> StartingPoint:
        """Returns the starting point of a new dataset.

        Raises:
            ConfigError: If the folder is not empty or cannot be written.
        """
        # If a parent of the folder is a file, check_writable says so.
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} exists: choose another --out, or go on with it by --resume {out}")
        check_writable(out)
        return cls(None, 0, [0] * config.num_envs, slot_limits(config, [0] * config.num_envs))

    @classmethod
    def after(cls, out: Path, config: CollectConfig) -> StartingPoint:
        """Returns the starting point in an existing dataset.

        Raises:
            ConfigError: If the folder is not a dataset, was collected with other settings, is complete, or cannot be
                written.
            CheckpointError: If it is damaged.
        """
        manifest_file = file_beside_shards(out, MANIFEST_FILE)
        if not manifest_file.is_file():
            raise ConfigError(f"{out} is not a dataset: it has no {manifest_file.name}")
        check_writable(out)
        manifest = prepare_resume(out)
        if (manifest.env_id, manifest.policy, manifest.seed) != (config.env, config.policy, config.seed):
            raise ConfigError(
                f"{out} was collected in {manifest.env_id} by policy {manifest.policy} with seed {manifest.seed}: "
                "go on with these, or choose another --out"
            )
        if manifest.num_slots != config.num_envs:
            raise ConfigError(f"{out} has {manifest.num_slots} envs; go on with --num-envs {manifest.num_slots}")
        _check_environment(out, config)
        next_steps, limits = manifest.next_steps(), limits_left(out, config)
        if not is_anything_left(limits, next_steps, range(config.num_envs)):
            raise ConfigError(
                f"{out} is complete ({manifest.num_rows:,} steps, {manifest.num_episodes:,} episodes): "
                "give more --steps or --episodes to add to it"
            )
        return cls(
            manifest, manifest.generations[-1].seed_generation + 1 if manifest.generations else 0, next_steps, limits
        )


def _check_environment(out: Path, config: CollectConfig) -> None:
    """Raises ConfigError if a dataset was collected with other settings of what its environment does."""
    file = file_beside_shards(out, CONFIG_FILE)
    if not file.is_file():
        return
    written, given = (_json_values(found) for found in (load_collect_config(file), config))
    for name in ("env_kwargs", "wrappers", "atari"):
        if written[name] != given[name]:
            raise ConfigError(
                f"{out} was collected with {name} {written[name]}, and not with {given[name]}: go on with these, or "
                "choose another --out"
            )


def _json_values(config: CollectConfig) -> dict[str, Any]:
    # Tuples in arguments are lists in files.
    return json.loads(json.dumps(to_dict(config), default=str))


def slot_limits(config: CollectConfig, num_ended: Sequence[int]) -> SlotLimits:
    """Returns the limits at which slots stop.

    Args:
        config: The job's config.
        num_ended: Number of whole episodes of each slot that are in the dataset already.

    Raises:
        ConfigError: If the config does not say how much to collect.
    """
    if config.steps is not None:
        return SlotLimits(next_steps=config.quotas(config.steps))
    if config.episodes is None:
        raise ConfigError("give --steps or --episodes: how much to collect")
    quotas = config.quotas(config.episodes)
    return SlotLimits(num_episodes={slot: quota - num_ended[slot] for slot, quota in quotas.items()})


def limits_left(out: Path, config: CollectConfig) -> SlotLimits:
    """Returns the limits at which slots stop when they continue the dataset in a folder."""
    return slot_limits(
        config, [0] * config.num_envs if config.episodes is None else count_episodes(out, config.num_envs)
    )


def is_anything_left(limits: SlotLimits, next_steps: Sequence[int], slots: Iterable[int]) -> bool:
    """Returns True if one of the slots is not at its limit yet."""
    if limits.next_steps is not None:
        return any(limits.next_steps[slot] > next_steps[slot] for slot in slots)
    assert limits.num_episodes is not None
    return any(limits.num_episodes[slot] > 0 for slot in slots)
