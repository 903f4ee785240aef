"""Readers of a dataset as NumPy nests: steps, episodes, or rollouts of a fixed length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.files.bounded_files import check_file
from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.datasets.columns import DatasetColumns, joined
from workers.datasets.episode_index import slot_and_generation
from workers.datasets.manifest import DatasetManifest
from workers.datasets.shard_journal import ShardRecord

Steps = dict[str, Any]


def read_steps(folder: str | Path, shuffle: int = 0, rng: np.random.Generator | None = None) -> Iterator[Steps]:
    """Yields the steps of a dataset, many at a time.

    Args:
        folder: The dataset's folder.
        shuffle: Number of steps in a pool that is shuffled; pools may be larger. Shards are read in random order, too.
            0 keeps the order of the files.
        rng: Draws the order; needed to shuffle.

    Yields:
        A dict of nests of arrays ``[N, *shape]``, where N varies: ``observation``, ``next_observation``, ``action``,
        ``reward``, ``discount`` and ``policy_info`` like their specs; bool ``terminated``, ``truncated`` and ``cut``
        (a fault or a resume cut the episode; after a fault, the row is LAST and not a transition of the environment, so
        leave it out of losses); int32 ``step_type`` and ``next_step_type``; int64 ``eps_id``, ``t`` (the
        step within the episode), ``slot`` (the env slot), ``step`` (the step of the env slot), ``weights_epoch`` (the
        weights' generation) and ``weights_version``. Arrays may be read-only.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
        ConfigError: If ``shuffle`` has no ``rng``.
    """
    if not shuffle:
        yield from _chunks(folder, None)
        return
    if rng is None:
        raise ConfigError(f"shuffle {shuffle} needs a random generator: give rng")
    pool: list[Steps] = []
    for chunk in _chunks(folder, rng):
        pool.append(chunk)
        if sum(len(part["eps_id"]) for part in pool) >= shuffle:
            yield _shuffled(pool, rng)
            pool = []
    if pool:
        yield _shuffled(pool, rng)


def read_episodes(folder: str | Path, only_ended: bool = False) -> Iterator[Steps]:
    """Yields the episodes of a dataset, in the order in which they end in its files.

    Args:
        folder: The dataset's folder.
        only_ended: Whether to leave out episodes that never ended because the dataset ends or a resume cut them. Their
            last step is neither ``terminated`` nor ``truncated``. If False, they come last.

    Yields:
        A dict as from :func:`read_steps` with the T steps of one episode in order. The caller may change the arrays.

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
    """Yields consecutive steps of one env slot, ``num_steps`` at a time.

    Steps before a resume or before the end that do not fill a rollout are left out.

    Args:
        folder: The dataset's folder.
        num_steps: T, 1 or more.

    Yields:
        A dict as from :func:`read_steps` with T steps in order. Episodes may begin and end inside it. The caller may
        change the arrays.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
        ConfigError: If ``num_steps`` is less than 1.
    """
    if num_steps < 1:
        raise ConfigError(f"num_steps of a rollout must be 1 or more, but is {num_steps}")
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
    """Returns how many episodes of each env slot end in a dataset. Episodes that a fault cut do not count.

    Args:
        folder: The dataset's folder.
        num_slots: Number of env slots.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
    """
    counts = np.zeros(num_slots, np.int64)
    for shard in DatasetManifest.load(folder).shards:
        path = Path(folder) / shard.file
        try:
            check_file(path)
            table = pq.read_table(path, columns=["slot", "next_step_type", "cut"])
        except (OSError, ValueError, pa.ArrowException) as error:
            raise CheckpointError(f"{path} is missing or damaged: {error}; find damaged shards with verify") from error
        ended = (table["next_step_type"].to_numpy() == StepType.LAST) & ~table["cut"].to_numpy()
        counts += np.bincount(table["slot"].to_numpy()[ended], minlength=num_slots)
    return counts.tolist()


def read_columns(folder: str | Path, manifest: DatasetManifest, names: Sequence[str]) -> Iterator[dict[str, pa.Array]]:
    """Yields some columns of each row group, in the order in which :func:`read_steps` yields the same rows.

    Args:
        folder: The dataset's folder.
        manifest: Its manifest. Shards that were added since are left out, so that two passes yield the same rows.
        names: The columns by their names in the files; see :class:`workers.datasets.schema.DatasetSchema`.

    Yields:
        An Arrow array for each name.

    Raises:
        CheckpointError: If a shard is missing or damaged.
    """
    schema = DatasetColumns(manifest.schema).arrow_schema
    for shard in _ordered(manifest):
        for table in _row_groups(Path(folder) / shard.file, schema, names):
            yield {name: joined(table.column(name)) for name in names}


def _ordered(manifest: DatasetManifest) -> list[ShardRecord]:
    # The files of a writer are numbered, and the steps of an env slot are in order within them.
    return sorted(manifest.shards, key=lambda shard: shard.file)


def _chunks(folder: str | Path, rng: np.random.Generator | None) -> Iterator[Steps]:
    """Yields the steps of each row group, in the order of the files, or in a random order of shards if rng is given."""
    manifest = DatasetManifest.load(folder)
    columns = DatasetColumns(manifest.schema)
    shards = _ordered(manifest)
    for index in range(len(shards)) if rng is None else rng.permutation(len(shards)):
        path = Path(folder) / shards[index].file
        for table in _row_groups(path, columns.arrow_schema):
            steps = manifest.schema.steps_of(columns.decode(table))
            steps["cut"] = _with_resume_cuts(steps, manifest)
            yield steps


def _row_groups(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    try:
        check_file(path)
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise CheckpointError(
                    f"{path} has other columns than the manifest says; find damaged shards with verify"
                )
            for index in range(file.num_row_groups):
                yield file.read_row_group(index, columns=columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CheckpointError(f"{path} is missing or damaged: {error}; find damaged shards with verify") from error


def _with_resume_cuts(steps: Steps, manifest: DatasetManifest) -> np.ndarray:
    cut = steps["cut"]
    for generation in manifest.generations[1:]:
        last_steps = np.asarray(generation.next_steps, np.int64)[steps["slot"]] - 1
        cut = cut | ((steps["step"] == last_steps) & (steps["next_step_type"] != StepType.LAST))
    return cut


def _segments(steps: Steps, keys: np.ndarray) -> Iterator[tuple[int, Steps]]:
    """Yields each run of consecutive steps with the same key, and the key."""
    starts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    for start, end in itertools.pairwise(starts):
        if end > start:
            yield int(keys[start]), _rows(steps, slice(start, end))


def _rows(steps: Steps, index: Any) -> Steps:
    return map_structure(lambda leaf: leaf[index], steps)


def _copied(steps: Steps) -> Steps:
    # A view of a few steps would keep a whole row group in memory.
    return map_structure(np.array, steps)


def _joined(parts: list[Steps]) -> Steps:
    return parts[0] if len(parts) == 1 else map_structure(lambda *leaves: np.concatenate(leaves), *parts)


def _shuffled(pool: list[Steps], rng: np.random.Generator) -> Steps:
    joined = _joined(pool)
    return _rows(joined, rng.permutation(len(flatten(joined)[0])))
