"""Readers of a dataset for tf.data, Ray Data and RLlib's offline algorithms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.utils.nests.array_nest import map_structure, paths
from workers.datasets.columns import DatasetColumns, joined
from workers.datasets.manifest import DatasetManifest
from workers.datasets.reader import Steps, read_episodes, read_rollouts, read_steps
from workers.datasets.schema import DatasetSchema, with_tuples
from workers.datasets.without_cuts import shards_without_cuts

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data
    import tensorflow as tf


def read_tf_dataset(
    folder: str | Path,
    batch_size: int | None = None,
    *,
    episodes: bool = False,
    rollout_steps: int | None = None,
    shuffle: int = 0,
    seed: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Returns a dataset's steps, episodes or rollouts as a ``tf.data.Dataset`` of dicts of nests.

    The dicts have the entries of :func:`workers.datasets.reader.read_steps`. Lists in nests become tuples, since
    ``tf.data`` does not allow lists.

    Args:
        folder: The dataset's folder.
        batch_size: Number of steps or rollouts in a batch; None for single ones without a batch dimension.
        episodes: Whether elements are whole episodes ``[T, ...]``, where T varies. Episodes that never ended come last.
        rollout_steps: If given, elements are consecutive steps of one env slot, ``[rollout_steps, ...]``.
        shuffle: Number of elements that each one is drawn from; 0 keeps the order of the files. Every pass over the
            dataset has another order.
        seed: Seed of the order.
        drop_remainder: Whether to leave out a smaller last batch.

    Raises:
        CheckpointError: If the manifest is missing or damaged. A damaged shard raises when it is read.
        ConfigError: If ``episodes`` is combined with ``batch_size`` or ``rollout_steps``.
    """
    import tensorflow as tf

    if episodes and (batch_size is not None or rollout_steps is not None):
        raise ConfigError(
            "episodes differ in length: leave out batch_size and rollout_steps, and batch by padded_batch"
        )
    spec = with_tuples(DatasetManifest.load(folder).schema.step_spec)
    passes = itertools.count()

    def steps() -> Iterator[Steps]:
        if episodes:
            return read_episodes(folder)
        if rollout_steps is not None:
            return read_rollouts(folder, rollout_steps)
        return read_steps(folder, shuffle, np.random.default_rng([seed, next(passes)]))

    def elements() -> Iterator[Any]:
        return map(with_tuples, steps())

    signature = map_structure(
        lambda leaf: tf.TensorSpec((rollout_steps, *leaf.shape), leaf.dtype.newbyteorder("=")), spec
    )
    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    if episodes or rollout_steps is not None:
        dataset = dataset.shuffle(shuffle, seed) if shuffle else dataset
        return dataset if batch_size is None else dataset.batch(batch_size, drop_remainder)
    return dataset.unbatch() if batch_size is None else dataset.rebatch(batch_size, drop_remainder)


def read_ray_dataset(folder: str | Path) -> ray.data.Dataset:
    """Returns a dataset's steps as a ``ray.data.Dataset`` with the columns of its files.

    Each leaf of a nest is a column such as ``obs/camera``. Every array has the dtype and shape of its spec. Ray Data
    does not guarantee an order of rows.

    Args:
        folder: The dataset's folder.

    Raises:
        CheckpointError: If the manifest is missing or damaged. A damaged shard raises when it is read.
        ConfigError: If the dataset has no steps yet.
    """
    import ray.data

    manifest = DatasetManifest.load(folder)
    dataset = ray.data.read_parquet(_shard_paths(folder, manifest))
    columns = DatasetColumns(manifest.schema).by_name.values()
    if not any(column.is_struct or column.leaves[0].is_bytes for column in columns):
        return dataset
    return dataset.map_batches(_FlatColumns(manifest.schema), batch_format="pyarrow", batch_size=None)


def rllib_offline_data(folder: str | Path) -> dict[str, Any]:
    """Returns the arguments with which RLlib reads a dataset: ``config.offline_data(**rllib_offline_data(folder))``.

    Rows where a fault cut an episode are left out; see :func:`workers.datasets.without_cuts.shards_without_cuts`.

    Actions are in the environment's units, and RLlib takes them as they are. With actions of floats, give
    ``config.environment(normalize_actions=False)``: RLlib would otherwise scale what it has learned a second time.

    Args:
        folder: The dataset's folder.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
        ConfigError: If the dataset has no steps yet.
        DistPolicyError: If a shard has such rows, and the folder cannot be written.
        SpecMismatchError: If observations or actions have a tuple, or a large array in a dict: RLlib cannot read them.
    """
    manifest = DatasetManifest.load(folder)
    tensors = {}
    for name, column in DatasetColumns(manifest.schema).by_name.items():
        nest = manifest.schema.columns[name]
        if column.is_struct and (_has_sequence(nest) or any(leaf.is_bytes for leaf in column.leaves)):
            raise SpecMismatchError(
                f"RLlib cannot read column {name}, a nest that contains a tuple or a large array; use "
                "read_ray_dataset, which makes a column of each leaf"
            )
        if not column.is_struct and column.leaves[0].is_bytes:
            spec = column.leaves[0].spec
            tensors[name] = (spec.dtype, spec.shape)
    kwargs = {"tensor_column_schema": tensors} if tensors else {}
    _check_has_steps(folder, manifest)
    return {"input_": shards_without_cuts(folder, manifest), "input_read_method_kwargs": kwargs}


class _FlatColumns:
    """Decodes tables of a dataset into a dict with an array ``[N, *shape]`` for each leaf."""

    def __init__(self, schema: DatasetSchema) -> None:
        self._schema = schema

    def __call__(self, table: pa.Table) -> dict[str, np.ndarray]:
        flat = {}
        for name, column in DatasetColumns(self._schema).by_name.items():
            leaves = column.decode_leaves(joined(table.column(name)))
            for path, leaf in zip(paths(self._schema.columns[name]), leaves, strict=True):
                flat[name + path] = leaf
        return flat


def _shard_paths(folder: str | Path, manifest: DatasetManifest) -> list[str]:
    _check_has_steps(folder, manifest)
    return [str(Path(folder).resolve() / shard.file) for shard in manifest.shards]


def _check_has_steps(folder: str | Path, manifest: DatasetManifest) -> None:
    if not manifest.shards:
        raise ConfigError(f"{folder} has no steps yet; collect some first")


def _has_sequence(nest: Any) -> bool:
    if isinstance(nest, dict):
        return any(_has_sequence(child) for child in nest.values())
    return isinstance(nest, tuple | list)
