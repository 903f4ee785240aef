"""Reading a dataset as NumPy nests: steps, episodes or rollouts of a fixed length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.datasets.columns import DatasetColumns
from workers.datasets.episode_index import slot_and_generation
from workers.datasets.manifest import DatasetManifest

Steps = dict[str, Any]


def read_steps(folder: str | Path, shuffle: int = 0, rng: np.random.Generator | None = None) -> Iterator[Steps]:
    """The steps of a dataset, many at a time.

    Args:
        folder: The dataset's folder.
        shuffle: Take shards in a random order, and steps at random out of pools of at least so many; 0 for the order
            of the files.
        rng: Draws the order; needed to shuffle.

    Yields:
        A dict of nests of ``[N, *shape]``, N as it comes: ``observation``, ``next_observation``, ``action``,
        ``reward``, ``discount`` and ``policy_info`` as their specs say; bool ``terminated``, ``truncated`` and ``cut``
        (the episode was cut by a fault or a resume); int32 ``step_type`` and ``next_step_type``; int64 ``eps_id``,
        ``t`` (in the episode), ``slot``, ``step`` (of the slot), ``weights_epoch`` and ``weights_version``. Arrays may
        be read-only.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
        ConfigError: If ``shuffle`` has no ``rng``.
    """
    if not shuffle:
        yield from _chunks(folder, None)
        return
    if rng is None:
        raise ConfigError("shuffle needs a random generator: give rng")
    pool: list[Steps] = []
    for chunk in _chunks(folder, rng):
        pool.append(chunk)
        if sum(len(part["eps_id"]) for part in pool) >= shuffle:
            yield _shuffled(pool, rng)
            pool = []
    if pool:
        yield _shuffled(pool, rng)


def read_episodes(folder: str | Path, only_ended: bool = False) -> Iterator[Steps]:
    """The episodes of a dataset, as they end in its files.

    Args:
        folder: The dataset's folder.
        only_ended: Leave out those that the dataset ends in, or that a resume cut: their last step is neither
            ``terminated`` nor ``truncated``. Otherwise these come last.

    Yields:
        What :func:`read_steps` does, of one episode's T steps in their order. Arrays are the caller's own.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
    """
    pending: dict[int, list[Steps]] = {}
    for chunk in _chunks(folder, None):
        for episode, part in _segments(chunk, chunk["eps_id"]):
            pending.setdefault(episode, []).append(_copied(part))
            if part["next_step_type"][-1] == StepType.LAST:
                yield _joined(pending.pop(episode))
    if not only_ended:
        for episode in sorted(pending):
            yield _joined(pending[episode])


def read_rollouts(folder: str | Path, num_steps: int) -> Iterator[Steps]:
    """Consecutive steps of one slot, ``num_steps`` at a time; what is left over at a resume or at the end is left out.

    Args:
        folder: The dataset's folder.
        num_steps: T, 1 or more.

    Yields:
        What :func:`read_steps` does, of T steps in their order; episodes begin and end inside. Arrays are the
        caller's own.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
        ConfigError: If ``num_steps`` is less than 1.
    """
    if num_steps < 1:
        raise ConfigError(f"rollouts of {num_steps} steps cannot be read; give 1 or more")
    pending: dict[int, Steps] = {}
    for chunk in _chunks(folder, None):
        for key, part in _segments(chunk, slot_and_generation(chunk["eps_id"])):
            steps = _joined([pending.pop(key), part]) if key in pending else part
            num_whole = len(steps["eps_id"]) // num_steps
            for start in range(0, num_whole * num_steps, num_steps):
                yield _copied(_rows(steps, slice(start, start + num_steps)))
            rest = _rows(steps, slice(num_whole * num_steps, None))
            if len(rest["eps_id"]):
                pending[key] = _copied(rest)


def count_episodes(folder: str | Path, num_slots: int) -> list[int]:
    """How many episodes of each slot end in a dataset; those that a fault cut do not count.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
    """
    counts = np.zeros(num_slots, np.int64)
    for shard in DatasetManifest.load(folder).shards:
        path = Path(folder) / shard.file
        try:
            table = pq.read_table(path, columns=["slot", "next_step_type", "cut"])
        except (OSError, pa.ArrowException) as error:
            raise CheckpointError(f"{path} is missing or damaged: {error}; see which shards are with verify") from error
        ended = (table["next_step_type"].to_numpy() == StepType.LAST) & ~table["cut"].to_numpy()
        counts += np.bincount(table["slot"].to_numpy()[ended], minlength=num_slots)
    return counts.tolist()


def _chunks(folder: str | Path, rng: np.random.Generator | None) -> Iterator[Steps]:
    """The row groups, in the order of the files, or with shards in a random order."""
    manifest = DatasetManifest.load(folder)
    columns = DatasetColumns(manifest.schema)
    # A slot's steps are in order in the files of one writer, and those are numbered.
    shards = sorted(manifest.shards, key=lambda shard: shard.file)
    for index in range(len(shards)) if rng is None else rng.permutation(len(shards)):
        path = Path(folder) / shards[index].file
        for table in _row_groups(path, columns.arrow_schema):
            steps = manifest.schema.steps_of(columns.decode(table))
            steps["cut"] = _with_resume_cuts(steps, manifest)
            yield steps


def _row_groups(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise CheckpointError(f"{path} has other columns than the manifest; remove what is not of this dataset")
            for index in range(file.num_row_groups):
                yield file.read_row_group(index)
    except (OSError, pa.ArrowException) as error:
        raise CheckpointError(f"{path} is missing or damaged: {error}; see which shards are with verify") from error


def _with_resume_cuts(steps: Steps, manifest: DatasetManifest) -> np.ndarray:
    cut = steps["cut"]
    for generation in manifest.generations[1:]:
        last_steps = np.asarray(generation.next_steps, np.int64)[steps["slot"]] - 1
        cut = cut | ((steps["step"] == last_steps) & (steps["next_step_type"] != StepType.LAST))
    return cut


def _segments(steps: Steps, keys: np.ndarray) -> Iterator[tuple[int, Steps]]:
    """Runs of steps of one key."""
    starts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    for start, end in itertools.pairwise(starts):
        if end > start:
            yield int(keys[start]), _rows(steps, slice(start, end))


def _rows(steps: Steps, index: Any) -> Steps:
    return map_structure(lambda leaf: leaf[index], steps)


def _copied(steps: Steps) -> Steps:
    # Else a few steps keep a whole row group in memory.
    return map_structure(np.array, steps)


def _joined(parts: list[Steps]) -> Steps:
    return parts[0] if len(parts) == 1 else map_structure(lambda *leaves: np.concatenate(leaves), *parts)


def _shuffled(pool: list[Steps], rng: np.random.Generator) -> Steps:
    joined = _joined(pool)
    return _rows(joined, rng.permutation(len(flatten(joined)[0])))
