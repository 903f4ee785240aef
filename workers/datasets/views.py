"""A dataset as tf.data, as Ray Data, and as what RLlib's offline algorithms read: one call each."""

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
    """A dataset's steps, episodes or rollouts as a ``tf.data.Dataset`` of dicts of nests.

    The entries are those of :func:`workers.datasets.reader.read_steps`. Lists in nests become tuples, which
    ``tf.data`` asks for.

    Args:
        folder: The dataset's folder.
        batch_size: Steps or rollouts of a batch; None for one at a time, without an outer dimension.
        episodes: Elements are whole episodes, ``[T, ...]`` of various T; those that never ended come last.
        rollout_steps: Elements are consecutive steps of a slot, ``[rollout_steps, ...]``.
        shuffle: Of how many elements each is drawn from; 0 for the order of the files. Every pass draws anew.
        seed: Of the draws.
        drop_remainder: Leave out a last batch that is smaller.

    Raises:
        CheckpointError: If the manifest is missing or damaged; a damaged shard fails where it is read.
        ConfigError: If the arguments exclude one another.
    """
    import tensorflow as tf

    if episodes and (batch_size is not None or rollout_steps is not None):
        raise ConfigError("episodes differ in length: leave out batch_size and rollout_steps, or use padded_batch")
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
    """A dataset's steps as a ``ray.data.Dataset`` of the columns in its files.

    The leaves of a nest are columns of their own, such as ``obs/camera``. Every array has the dtype and shape of its
    spec. Ray Data promises no order of rows.

    Raises:
        CheckpointError: If the manifest is missing or damaged; a damaged shard fails where it is read.
        ConfigError: If there are no steps yet.
    """
    import ray.data

    manifest = DatasetManifest.load(folder)
    dataset = ray.data.read_parquet(_shard_paths(folder, manifest))
    columns = DatasetColumns(manifest.schema).by_name.values()
    if not any(column.is_struct or column.leaves[0].is_bytes for column in columns):
        return dataset
    return dataset.map_batches(_FlatColumns(manifest.schema), batch_format="pyarrow", batch_size=None)


def rllib_offline_data(folder: str | Path) -> dict[str, Any]:
    """The arguments with which RLlib reads a dataset: ``config.offline_data(**rllib_offline_data(folder))``.

    Raises:
        CheckpointError: If the manifest is missing or damaged.
        ConfigError: If there are no steps yet.
        SpecMismatchError: If RLlib cannot read its observations or actions: a tuple, or a large array in a dict.
    """
    manifest = DatasetManifest.load(folder)
    tensors = {}
    for name, column in DatasetColumns(manifest.schema).by_name.items():
        nest = manifest.schema.columns[name]
        if column.is_struct and (_has_sequence(nest) or any(leaf.is_bytes for leaf in column.leaves)):
            raise SpecMismatchError(
                f"RLlib cannot read column {name}, a nest with a tuple or a large array in it; read it with "
                "read_ray_dataset, which gives each leaf as a column"
            )
        if not column.is_struct and column.leaves[0].is_bytes:
            spec = column.leaves[0].spec
            tensors[name] = (spec.dtype, spec.shape)
    kwargs = {"tensor_column_schema": tensors} if tensors else {}
    return {"input_": _shard_paths(folder, manifest), "input_read_method_kwargs": kwargs}


class _FlatColumns:
    """Decodes the tables of a dataset into a column for each leaf."""

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
    if not manifest.shards:
        raise ConfigError(f"{folder} holds no steps yet; collect some first")
    return [str(Path(folder).resolve() / shard.file) for shard in manifest.shards]


def _has_sequence(nest: Any) -> bool:
    if isinstance(nest, dict):
        return any(_has_sequence(child) for child in nest.values())
    return isinstance(nest, tuple | list)
