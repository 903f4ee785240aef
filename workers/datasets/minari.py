"""export_minari: writes a dataset as a Minari dataset."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec, is_discrete
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import map_structure
from workers.datasets.manifest import DatasetManifest
from workers.datasets.reader import Steps, read_episodes
from workers.datasets.schema import with_tuples

if TYPE_CHECKING:
    import minari


def export_minari(folder: str | Path, dataset_id: str) -> minari.MinariDataset:
    """Writes a dataset's episodes as a Minari dataset into Minari's folder.

    An episode that never ended is marked as truncated at its last step, since Minari needs an end. Rows where a fault
    cut an episode and policy infos are left out. Images are stored without JPEG compression.

    Args:
        folder: The dataset's folder.
        dataset_id: Minari's id, such as ``cartpole/random-v0``.

    Returns:
        The Minari dataset.

    Raises:
        CheckpointError: If the manifest or a shard is missing or damaged.
        ConfigError: If Minari is not installed or has a dataset with this id, the dataset has no steps, or the
            environment cannot be made.
        SpecMismatchError: If a spec has no Gymnasium space.
    """
    try:
        import minari
        from minari.storage.datasets_root_dir import get_dataset_path
    except ImportError as error:
        raise ConfigError("Minari is not installed: pip install 'distpolicy[minari]'") from error
    manifest = DatasetManifest.load(folder)
    if not manifest.num_rows:
        raise ConfigError(f"{folder} has no steps yet; collect some first")
    path = get_dataset_path(dataset_id)
    if path.exists():
        raise ConfigError(f"{path} already exists; give another dataset id")
    spaces = [
        space_from_spec(spec) for spec in (manifest.schema.time_step_spec.observation, manifest.schema.action_spec)
    ]
    try:
        with warnings.catch_warnings():
            # Minari warns about a missing author, link and scores, which our datasets do not have.
            warnings.filterwarnings("ignore", category=UserWarning, module="minari")
            return minari.create_dataset_from_buffers(
                dataset_id,
                # An iterator, since not all episodes may fit into memory at once.
                _buffers(folder),
                env=_environment_spec(manifest),
                observation_space=spaces[0],
                action_space=spaces[1],
                algorithm_name=manifest.policy,
                description=f"Collected in {manifest.env_id} with seed {manifest.seed}",
                data_format="hdf5",
                jpeg_encoding=False,
            )
    except BaseException as error:
        shutil.rmtree(path, ignore_errors=True)
        if isinstance(error, gym.error.Error):
            raise ConfigError(f"Minari cannot make env {manifest.env_id}: {error}; install what it needs") from error
        raise


def space_from_spec(spec: Any) -> gym.Space:
    """Returns the Gymnasium space of a nest of array specs.

    Args:
        spec: Dicts and tuples of array specs. A bounded int64 scalar becomes a Discrete, any other array a Box.

    Raises:
        SpecMismatchError: If the dtype of a leaf is not a real number or boolean.
    """
    if isinstance(spec, dict):
        return gym.spaces.Dict({key: space_from_spec(child) for key, child in spec.items()})
    if isinstance(spec, tuple | list):
        return gym.spaces.Tuple([space_from_spec(child) for child in spec])
    if spec.dtype.kind not in "biuf":
        raise SpecMismatchError(f"spec {spec.name!r} of dtype {spec.dtype} has no Gymnasium space; use real numbers")
    if isinstance(spec, BoundedArraySpec) and is_discrete(spec) and spec.shape == () and spec.dtype == np.int64:
        return gym.spaces.Discrete(int(spec.num_values), start=int(spec.minimum))
    return gym.spaces.Box(*_bounds(spec), tuple(int(size or 0) for size in spec.shape), spec.dtype.type)


def _bounds(spec: ArraySpec) -> tuple[np.ndarray, np.ndarray]:
    shape = tuple(int(size or 0) for size in spec.shape)
    if isinstance(spec, BoundedArraySpec):
        low, high = spec.minimum, spec.maximum
    elif spec.dtype.kind == "f":
        low, high = np.asarray(-np.inf, spec.dtype), np.asarray(np.inf, spec.dtype)
    else:
        info = np.iinfo(np.uint8) if spec.dtype == np.bool_ else np.iinfo(spec.dtype)
        limits = (0, 1) if spec.dtype == np.bool_ else (info.min, info.max)
        low, high = (np.asarray(limit, spec.dtype) for limit in limits)
    return np.broadcast_to(low, shape).copy(), np.broadcast_to(high, shape).copy()


def _buffers(folder: str | Path) -> Iterator[Any]:
    from minari.data_collector.episode_buffer import EpisodeBuffer

    for number, steps in enumerate(filter(_has_steps, map(_without_fault, read_episodes(folder)))):
        truncations = steps["truncated"].copy()
        truncations[-1] = not steps["terminated"][-1]
        yield EpisodeBuffer(
            id=number,
            observations=map_structure(
                lambda before, after: np.concatenate([before, after[-1:]]),
                steps["observation"],
                steps["next_observation"],
            ),
            actions=steps["action"],
            rewards=steps["reward"],
            terminations=steps["terminated"],
            truncations=truncations,
        )


def _without_fault(steps: Steps) -> Steps:
    """Returns an episode with tuples for lists, and without the row where a fault cut it."""
    is_fault = steps["cut"] & (steps["next_step_type"] == StepType.LAST)
    return with_tuples(map_structure(lambda leaf: leaf[~is_fault], steps))


def _has_steps(steps: Steps) -> bool:
    return len(steps["eps_id"]) > 0


def _environment_spec(manifest: DatasetManifest) -> gym.envs.registration.EnvSpec | None:
    """Returns Gymnasium's spec of the environment, or None if the id is not registered in this process."""
    try:
        spec = copy.deepcopy(gym.spec(manifest.env_id))
        spec.kwargs.update(manifest.env_kwargs)
    except gym.error.Error:
        return None
    return spec
