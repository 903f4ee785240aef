"""StartingPoint: where a collect job begins, and what its folder has to be like."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from distpolicy.errors import ConfigError
from launch.config.collect import CollectConfig
from workers.datasets.episode_index import SlotLimits
from workers.datasets.manifest import DatasetManifest, prepare_resume
from workers.datasets.reader import count_episodes


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """What earlier jobs have left.

    Attributes:
        manifest: Theirs; None if there were none.
        generation: Number of this start.
        next_steps: The step that each slot goes on with.
        limits: Where each slot stops.
    """

    manifest: DatasetManifest | None
    generation: int
    next_steps: Sequence[int]
    limits: SlotLimits

    @classmethod
    def new(cls, out: Path, config: CollectConfig) -> StartingPoint:
        """Of a new dataset.

        Raises:
            ConfigError: If the folder has something in it or cannot be written.
        """
        # Below a file there is nothing: the folder's own check says so.
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} exists: choose another --out, or go on with it by --resume {out}")
        check_writable(out)
        return cls(None, 0, [0] * config.num_envs, slot_limits(config, [0] * config.num_envs))

    @classmethod
    def after(cls, out: Path, config: CollectConfig) -> StartingPoint:
        """Of a dataset that is to be added to.

        Raises:
            ConfigError: If it is none, was collected otherwise, is complete, or its folder cannot be written.
            CheckpointError: If it is damaged.
        """
        if not (out / "manifest.json").is_file():
            raise ConfigError(f"{out} is no dataset: it has no manifest.json")
        check_writable(out)
        manifest = prepare_resume(out)
        if (manifest.env_id, manifest.policy, manifest.seed) != (config.env, config.policy, config.seed):
            raise ConfigError(
                f"{out} was collected in {manifest.env_id} by policy {manifest.policy} with seed {manifest.seed}: "
                "go on with these, or choose another --out"
            )
        if manifest.num_slots != config.num_envs:
            raise ConfigError(f"{out} has {manifest.num_slots} envs; go on with --num-envs {manifest.num_slots}")
        next_steps, limits = manifest.next_steps(), limits_left(out, config)
        if not is_anything_left(limits, next_steps, range(config.num_envs)):
            raise ConfigError(
                f"{out} is complete ({manifest.num_rows:,} steps, {manifest.num_episodes:,} episodes): "
                "give more --steps or --episodes to add to it"
            )
        return cls(
            manifest, manifest.generations[-1].seed_generation + 1 if manifest.generations else 0, next_steps, limits
        )


def slot_limits(config: CollectConfig, num_ended: Sequence[int]) -> SlotLimits:
    """Where slots stop.

    Args:
        config: The job's config.
        num_ended: Whole episodes of each slot that are in the dataset.

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
    """Where slots that go on with what is in a folder stop."""
    return slot_limits(
        config, [0] * config.num_envs if config.episodes is None else count_episodes(out, config.num_envs)
    )


def is_anything_left(limits: SlotLimits, next_steps: Sequence[int], slots: Iterable[int]) -> bool:
    """Whether one of the slots is not yet at its limit."""
    if limits.next_steps is not None:
        return any(limits.next_steps[slot] > next_steps[slot] for slot in slots)
    assert limits.num_episodes is not None
    return any(limits.num_episodes[slot] > 0 for slot in slots)


def check_writable(folder: Path) -> None:
    """Refuses a folder that cannot be written into or made; leaves no trace.

    Raises:
        ConfigError: If it cannot be; tells why.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        if folder == nearest:
            with tempfile.TemporaryFile(dir=folder):
                return
        with tempfile.TemporaryDirectory(dir=nearest):
            return
    except OSError as error:
        raise ConfigError(
            f"cannot write into {folder}: {nearest}: {error.strerror or error}; choose another folder"
        ) from error
