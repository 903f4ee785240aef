"""import_minari and import_rllib: make datasets of this project from those of others."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset

from distpolicy.agents.action_kinds import fits
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec, is_discrete
from distpolicy.specs.gymnasium_spaces import spec_from_space
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.datasets.files import MANIFEST_FILE, file_beside_shards
from workers.datasets.manifest import DatasetManifest
from workers.datasets.schema import DatasetSchema
from workers.datasets.writer import DatasetWriter

# Steps that are written together.
_CHUNK_STEPS = 8192

_RLLIB_COLUMNS = ("eps_id", "obs", "new_obs", "actions", "rewards", "terminateds", "truncateds")


class _Episode(NamedTuple):
    """One episode of n steps: nests of ``[n + 1, ...]`` observations and ``[n, ...]`` actions, and ``[n]`` rewards."""

    observation: Any
    action: Any
    reward: np.ndarray
    terminated: bool


def import_minari(dataset_id: str, folder: str | Path) -> DatasetManifest:
    """Writes a Minari dataset as a dataset of this project.

    Args:
        dataset_id: Minari's id of a dataset that is on this machine, such as ``D4RL/door/human-v2``.
        folder: The new dataset's folder.

    Returns:
        The manifest.

    Raises:
        ConfigError: If Minari is not installed, does not have the dataset, or the folder holds a dataset already.
        SpecMismatchError: If a space is not supported, or the data are not in the spaces.
    """
    try:
        import minari
    except ImportError as error:
        raise ConfigError("Minari is not installed: pip install 'distpolicy[minari]'") from error
    try:
        source = minari.load_dataset(dataset_id)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"Minari has no dataset {dataset_id}: {error}; see minari download") from error
    specs = EnvironmentSpecs(
        time_step_spec(spec_from_space(source.observation_space)), spec_from_space(source.action_space)
    )
    env = source.spec.env_spec
    episodes = (
        _Episode(found.observations, found.actions, found.rewards, bool(found.terminations[-1]))
        for found in source.iterate_episodes()
        if len(found)
    )
    return _write(
        folder,
        specs,
        episodes,
        "" if env is None else env.id,
        {} if env is None else env.kwargs,
        f"minari:{dataset_id}",
    )


def import_rllib(
    source: str | Path,
    folder: str | Path,
    specs: EnvironmentSpecs,
    env_id: str,
    env_kwargs: Mapping[str, Any] | None = None,
    normalized_actions: bool | None = None,
) -> DatasetManifest:
    """Writes RLlib's Parquet files with a row for each step as a dataset of this project.

    The rows of an episode are in order; those of several may alternate. An episode whose rows end before it is over
    counts as truncated.

    RLlib writes actions as its policy has drawn them. With its setting ``normalize_actions``, which is on by default,
    -1 and 1 stand for the bounds of an action of floats.

    Args:
        source: A file, or a folder of files, with the columns that RLlib's offline algorithms read.
        folder: The new dataset's folder.
        specs: Specs of the environment, such as from :func:`workers.environments.probe.probe`. Observation and action
            are one array each.
        env_id: The environment's id.
        env_kwargs: Its arguments; None for none.
        normalized_actions: Whether -1 and 1 stand for the bounds of the action. May be left out unless the action is of
            floats with other bounds than these.

    Returns:
        The manifest.

    Raises:
        ConfigError: If the files cannot be read, a column is missing, ``normalized_actions`` has to be given, or the
            folder holds a dataset already.
        SpecMismatchError: If the data do not match the specs, or an episode's rows do not follow on one another.
    """
    try:
        files = pyarrow.dataset.dataset(str(source), format="parquet")
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"cannot read {source}: {error}; give Parquet files") from error
    if missing := [name for name in _RLLIB_COLUMNS if name not in files.schema.names]:
        raise ConfigError(
            f"{source} has no column {missing[0]}: let RLlib write steps and not episodes (output_write_episodes=False)"
        )
    observation_spec, action_spec = specs.time_step.observation, specs.action
    if not (isinstance(observation_spec, ArraySpec) and isinstance(action_spec, ArraySpec)):
        raise SpecMismatchError("RLlib's files have one array for an observation and one for an action, not a nest")
    has_other_bounds = _has_other_bounds(action_spec)
    if normalized_actions is None and has_other_bounds:
        raise ConfigError(
            "normalized_actions is not given: RLlib writes an action of floats scaled to [-1, 1] unless its setting "
            f"normalize_actions is off; say by True or False which it is, since the action has other bounds in {env_id}"
        )
    episodes = _rllib_episodes(files, observation_spec, action_spec, has_other_bounds and bool(normalized_actions))
    return _write(folder, specs, episodes, env_id, env_kwargs or {}, "rllib")


def _has_other_bounds(action_spec: ArraySpec) -> bool:
    """Returns True if an action of floats has finite bounds, other than -1 and 1."""
    if not fits("one of floats", action_spec):
        return False
    assert isinstance(action_spec, BoundedArraySpec)
    return bool(np.any(action_spec.minimum != -1.0) or np.any(action_spec.maximum != 1.0))


def _rllib_episodes(
    files: pyarrow.dataset.Dataset, observation_spec: ArraySpec, action_spec: ArraySpec, is_scaled: bool
) -> Iterator[_Episode]:
    shapes = {"obs": observation_spec, "new_obs": observation_spec, "actions": action_spec}
    pending: dict[Any, list[dict[str, np.ndarray]]] = {}
    for batch in files.to_batches(columns=list(_RLLIB_COLUMNS)):
        rows = {
            name: _column(batch.column(name), name, shapes.get(name)) for name in _RLLIB_COLUMNS if name != "eps_id"
        }
        if is_scaled:
            rows["actions"] = _unscaled(rows["actions"], action_spec)
        ids = np.asarray(batch.column("eps_id").to_pylist(), object)
        starts = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)] if len(ids) else []
        ends = np.flatnonzero(rows["terminateds"] | rows["truncateds"]) + 1
        bounds = sorted({*starts, *ends.tolist()})
        for start, end in itertools.pairwise(bounds):
            part = {name: column[start:end] for name, column in rows.items()}
            pending.setdefault(ids[start], []).append(part)
            if part["terminateds"][-1] or part["truncateds"][-1]:
                yield _joined(pending.pop(ids[start]), ids[start])
    for episode, parts in pending.items():
        yield _joined(parts, episode)


def _unscaled(actions: np.ndarray, spec: Any) -> np.ndarray:
    """Returns actions of which -1 and 1 stood for the bounds. Like a policy's, they may lie beyond."""
    low, high = (np.asarray(bound, np.float64) for bound in (spec.minimum, spec.maximum))
    return low + (actions + 1.0) * (high - low) / 2.0


def _column(column: pa.Array, name: str, spec: ArraySpec | None) -> np.ndarray:
    """Returns a column as an array ``[N, *shape]``."""
    values = column
    while isinstance(values, pa.ExtensionArray) or pa.types.is_nested(values.type):
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        elif pa.types.is_struct(values.type):
            raise SpecMismatchError(f"column {name} is a nest; one array is supported")
        else:
            values = values.flatten()
    if pa.types.is_binary(values.type) or pa.types.is_string(values.type):
        raise SpecMismatchError(f"column {name} holds bytes; write it without compression")
    found = values.to_numpy(zero_copy_only=False)
    if spec is None:
        return found
    if found.size != len(column) * math.prod(size or 0 for size in spec.shape):
        raise SpecMismatchError(
            f"column {name} has {found.size // max(len(column), 1)} numbers a row, not {spec.shape}"
        )
    rows = found.reshape(len(column), *spec.shape)
    _check_values(rows, name, spec)
    return rows


def _check_values(rows: np.ndarray, name: str, spec: ArraySpec) -> None:
    """Raises SpecMismatchError if rows ``[N, *shape]`` hold numbers that are not such integers as the spec says."""
    if not is_discrete(spec):
        return
    limits = np.iinfo(spec.dtype)
    low, high = (spec.minimum, spec.maximum) if isinstance(spec, BoundedArraySpec) else (limits.min, limits.max)
    is_wrong = (rows < low) | (rows > high)
    if rows.dtype.kind == "f":
        is_wrong |= rows != np.floor(rows)
    if is_wrong.any():
        raise SpecMismatchError(
            f"column {name} holds {rows[is_wrong][0]}, and the specs say integers from {np.min(low)} to "
            f"{np.max(high)}: give the specs of the environment that the data are from"
        )


def _joined(parts: list[dict[str, np.ndarray]], episode: Any) -> _Episode:
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    after, following = rows["new_obs"][:-1], rows["obs"][1:]
    # Of the observations after the rows, only the last one is kept.
    if not np.array_equal(after, following, equal_nan=after.dtype.kind == "f"):
        raise SpecMismatchError(
            f"the rows of episode {episode} do not follow on one another, since new_obs is not obs of its next row: "
            "give the files as RLlib wrote them, whole and not shuffled"
        )
    observation = np.concatenate([rows["obs"], rows["new_obs"][-1:]])
    return _Episode(observation, rows["actions"], rows["rewards"], bool(rows["terminateds"][-1]))


def _write(
    folder: str | Path,
    specs: EnvironmentSpecs,
    episodes: Iterable[_Episode],
    env_id: str,
    env_kwargs: Mapping[str, Any],
    policy: str,
) -> DatasetManifest:
    if file_beside_shards(folder, MANIFEST_FILE).exists():
        raise ConfigError(f"{folder} holds a dataset already; give another folder")
    schema = DatasetSchema(specs.time_step, specs.action)
    writer = DatasetWriter(folder, "imported", schema)
    records = []
    try:
        for group in _grouped(episodes):
            records += writer.write(_rollout(group, specs))
        records += writer.flush()
    finally:
        writer.close()
    manifest = DatasetManifest(schema, env_id, policy, 0, 1, dict(env_kwargs), finished=True)
    manifest = manifest.with_generation(time.time(), 0).with_shards(records)
    manifest.save(folder)
    return manifest


def _grouped(episodes: Iterable[_Episode]) -> Iterator[list[_Episode]]:
    group: list[_Episode] = []
    for episode in episodes:
        group.append(episode)
        if sum(len(one.reward) for one in group) >= _CHUNK_STEPS:
            yield group
            group = []
    if group:
        yield group


def _rollout(episodes: list[_Episode], specs: EnvironmentSpecs) -> Rollout:
    """Returns whole episodes as one stream of an env slot, ``[1, T, ...]``, with a row between any two of them."""
    lengths = np.array([len(episode.reward) for episode in episodes])
    ends = np.cumsum(lengths + 1) - 1  # the places of the last observations
    step_type = np.full(ends[-1] + 1, StepType.MID, np.int32)
    step_type[ends - lengths], step_type[ends] = StepType.FIRST, StepType.LAST
    discount = np.ones(ends[-1], np.float32)
    discount[ends - 1] = [0.0 if episode.terminated else 1.0 for episode in episodes]

    def steps(nests: list[Any], spec: Any) -> Any:
        """Joins what each step has, with a row of zeros after each episode but the last."""
        return _joined_nests([map_structure(_with_zero_row, nest) for nest in nests], spec, -1)

    return Rollout(
        observation=_joined_nests([episode.observation for episode in episodes], specs.time_step.observation, None),
        step_type=step_type[np.newaxis],
        action=steps([episode.action for episode in episodes], specs.action),
        policy_info=(),
        reward=steps([episode.reward for episode in episodes], specs.time_step.reward),
        discount=discount[np.newaxis],
        policy_state=(),
        discounted_return=np.zeros(1),
        cuts=np.zeros((1, len(discount)), np.bool_),
        weights_version=np.zeros((1, 2), np.int64),
        first_step=np.zeros((1, 2), np.int64),
        first_slot=np.asarray(0),
    )


def _with_zero_row(leaf: np.ndarray) -> np.ndarray:
    return np.concatenate([leaf, np.zeros_like(leaf[:1])])


def _joined_nests(nests: list[Any], spec: Any, end: int | None) -> Any:
    """Returns nests one after the other as ``[1, T, ...]`` in the spec's dtypes, up to ``end``."""
    if any(len(flatten(nest)) != len(flatten(spec)) for nest in nests):
        raise SpecMismatchError("an episode has other arrays than its space says")
    return map_structure(
        lambda leaf_spec, *leaves: np.concatenate(leaves)[:end].astype(leaf_spec.dtype, copy=False)[np.newaxis],
        spec,
        *nests,
    )
