"""DatasetArrays: the transitions of whole datasets in memory, to draw from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import flatten, pack_leaves
from workers.available_memory import available_memory_bytes
from workers.datasets.columns import NestColumn
from workers.datasets.manifest import DatasetManifest
from workers.datasets.reader import read_columns

# Columns with a number for each row, by the names of the arrays that are made from them.
_NUMBERS = {
    "slot": "slot",
    "step": "step",
    "episode": "eps_id",
    "t": "t",
    "step_type": "step_type",
    "next_step_type": "next_step_type",
    "cut": "cut",
    "reward": "rewards",
    "discount": "discount",
}

# Four numbers of 32 bits and three of 64 bits.
_ROW_BYTES = 40

# TensorFlow copies what it is handed.
_NUM_COPIES = 2


@dataclass(frozen=True)
class DatasetArrays:
    """The steps of datasets as arrays; N rows, one for each step.

    An observation is held once, although it is the next observation of the step before. Only where no step follows,
    the next observation is held beside it: there are M observations.

    Attributes:
        observation: Nest of ``[M, *shape]``.
        action: Nest of ``[N, *shape]``.
        reward: float32 ``[N]``.
        discount: float32 ``[N]``: of the environment; 0 where the episode terminated.
        step_type: int32 ``[N]``.
        next_step_type: int32 ``[N]``.
        next_observation_at: int64 ``[N]``: where the next observation is among the M.
        following: int64 ``[N]``: the row of the episode's next step; -1 if there is none.
        transitions: int64 ``[V]``: the rows that are transitions of the environment, ordered by dataset, env slot and
            step. The order does not depend on the number of collectors that wrote the data.
    """

    observation: Any
    action: Any
    reward: np.ndarray
    discount: np.ndarray
    step_type: np.ndarray
    next_step_type: np.ndarray
    next_observation_at: np.ndarray
    following: np.ndarray
    transitions: np.ndarray


def load_manifests(folders: Sequence[str]) -> list[DatasetManifest]:
    """Returns the manifests of datasets that can be learned from together.

    Args:
        folders: The datasets' folders.

    Raises:
        CheckpointError: If a manifest is missing or damaged.
        ConfigError: If there is no folder, or a dataset's observations or actions differ from the first one's.
    """
    if not folders:
        raise ConfigError("there is no dataset: give the folder of one, as distpolicy collect writes it")
    manifests = [DatasetManifest.load(folder) for folder in folders]
    first = manifests[0].schema.to_json()
    for folder, manifest in zip(folders, manifests, strict=True):
        for part in ("time_step_spec", "action_spec"):
            if manifest.schema.to_json()[part] != first[part]:
                raise ConfigError(
                    f"{folder} has another {part} than {folders[0]}: give datasets of one environment together"
                )
    return manifests


def dataset_specs(folders: Sequence[str]) -> EnvironmentSpecs:
    """Returns the specs of datasets' steps; arguments and errors as for :func:`load_manifests`."""
    schema = load_manifests(folders)[0].schema
    return EnvironmentSpecs(schema.time_step_spec, schema.action_spec)


def fingerprint(manifests: Sequence[DatasetManifest]) -> np.ndarray:
    """Returns a digest of the contents of datasets: uint8 ``[32]``. It does not depend on where they are."""
    contents = [
        [manifest.schema.to_json(), sorted((shard.file, shard.sha256) for shard in manifest.shards)]
        for manifest in manifests
    ]
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).digest()
    return np.frombuffer(digest, np.uint8).copy()


def load_arrays(
    folders: Sequence[str],
    available_bytes: int | None = None,
    num_drawn_observations: int = 0,
    manifests: Sequence[DatasetManifest] | None = None,
) -> DatasetArrays:
    """Reads datasets into memory. Steps that a job adds meanwhile are left out.

    A row where a fault cut an episode is not a transition, and the step before it has none that follows.

    Args:
        folders: The datasets' folders.
        available_bytes: The memory that may be taken; None for what the machine has left.
        num_drawn_observations: Number of observations that are copied from the data at a time, for which there has to
            be room, too.
        manifests: The datasets' manifests, from :func:`load_manifests`; None to load them.

    Raises:
        CheckpointError: If a manifest or a shard is missing or damaged.
        ConfigError: If the datasets do not fit together or into the memory, or have no transition.
    """
    manifests = load_manifests(folders) if manifests is None else manifests
    num_rows = sum(manifest.num_rows for manifest in manifests)
    schema = manifests[0].schema
    specs = EnvironmentSpecs(schema.time_step_spec, schema.action_spec)
    numbers = _read_numbers(folders, manifests)
    is_transition = ~(numbers["cut"] & (numbers["next_step_type"] == StepType.LAST))
    order = np.lexsort((numbers["step"], numbers["slot"], numbers["dataset"]))
    following = _following(numbers, order, is_transition)
    is_end = following < 0
    num_observations = num_rows + int(np.count_nonzero(is_end)) + _NUM_COPIES * num_drawn_observations
    _check_memory(folders, specs, num_rows, num_observations, available_bytes)
    next_observation_at = np.where(is_end, num_rows + np.cumsum(is_end) - 1, following)
    transitions = order[is_transition[order]]
    if not len(transitions):
        raise ConfigError(f"{', '.join(folders)} has no transitions yet; collect some first")
    observation, action = _read_nests(folders, manifests, specs, num_rows, is_end)
    return DatasetArrays(
        observation,
        action,
        numbers["reward"],
        numbers["discount"],
        numbers["step_type"],
        numbers["next_step_type"],
        next_observation_at,
        following,
        transitions,
    )


def returns_to_go(arrays: DatasetArrays, discount: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns for each row the discounted rewards from it to the last step of its episode that the data hold.

    Where that step is not a termination, later rewards are unknown: their sum is the value of the observation after it,
    times a factor that is returned, too. The factor is 0 after a termination.

    Args:
        arrays: The data.
        discount: Gamma.

    Returns:
        The sum of rewards, float32 ``[N]``; the factor, float32 ``[N]``; and where the observation after the last step
        is among the observations, int64 ``[N]``.
    """
    total = arrays.reward.astype(np.float64)
    factor = discount * arrays.discount.astype(np.float64)
    final_at = arrays.next_observation_at.copy()
    for rows in _from_the_end(arrays.following):
        after = arrays.following[rows]
        total[rows] += factor[rows] * total[after]
        factor[rows] *= factor[after]
        final_at[rows] = final_at[after]
    return total.astype(np.float32), factor.astype(np.float32), final_at


def _from_the_end(following: np.ndarray) -> list[np.ndarray]:
    """Returns the rows with a following one, in groups by the number of steps to the last step; the nearest first."""
    preceding = np.full(len(following), -1, np.int64)
    has_next = np.flatnonzero(following >= 0)
    preceding[following[has_next]] = has_next
    groups = []
    rows = preceding[following < 0]
    while len(rows := rows[rows >= 0]):
        groups.append(rows)
        rows = preceding[rows]
    return groups


def _read_numbers(folders: Sequence[str], manifests: Sequence[DatasetManifest]) -> dict[str, np.ndarray]:
    parts: list[dict[str, np.ndarray]] = []
    for index, (folder, manifest) in enumerate(zip(folders, manifests, strict=True)):
        columns = {name: NestColumn(manifest.schema.columns[column]) for name, column in _NUMBERS.items()}
        for chunk in read_columns(folder, manifest, [*_NUMBERS.values()]):
            part = {name: columns[name].decode(chunk[column]) for name, column in _NUMBERS.items()}
            parts.append({**part, "dataset": np.full(len(part["slot"]), index)})
    if not parts:
        raise ConfigError(f"{', '.join(folders)} has no steps yet; collect some first")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _following(numbers: dict[str, np.ndarray], order: np.ndarray, is_transition: np.ndarray) -> np.ndarray:
    """Returns the row of the episode's next transition for each row, int64 ``[N]``; -1 where there is none."""
    before, after = order[:-1], order[1:]
    goes_on = _adjacent(numbers, before, after) & is_transition[after]
    following = np.full(len(order), -1, np.int64)
    following[before[goes_on]] = after[goes_on]
    return following


def _adjacent(numbers: dict[str, np.ndarray], before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Returns where two rows are consecutive steps of one episode, bool ``[N - 1]``."""
    is_same = np.ones(len(before), np.bool_)
    for name in ("dataset", "episode"):
        is_same &= numbers[name][before] == numbers[name][after]
    return is_same & (numbers["t"][before] + 1 == numbers["t"][after])


def _read_nests(
    folders: Sequence[str],
    manifests: Sequence[DatasetManifest],
    specs: EnvironmentSpecs,
    num_rows: int,
    is_end: np.ndarray,
) -> tuple[Any, Any]:
    """Returns the observations, followed by those after rows where ``is_end``, and the actions."""
    observation, action = NestColumn(specs.time_step.observation), NestColumn(specs.action)
    num_observations = num_rows + int(np.count_nonzero(is_end))
    observations = [_empty(leaf.spec, num_observations) for leaf in observation.leaves]
    actions = [_empty(leaf.spec, num_rows) for leaf in action.leaves]
    begin, extra = 0, num_rows
    for folder, manifest in zip(folders, manifests, strict=True):
        for chunk in read_columns(folder, manifest, ["obs", "new_obs", "actions"]):
            rows = slice(begin, begin + len(chunk["obs"]))
            ends = is_end[rows]
            more = slice(extra, extra + int(np.count_nonzero(ends)))
            for to, leaf in zip(observations, observation.decode_leaves(chunk["obs"]), strict=True):
                to[rows] = leaf
            for to, leaf in zip(observations, observation.decode_leaves(chunk["new_obs"]), strict=True):
                to[more] = leaf[ends]
            for to, leaf in zip(actions, action.decode_leaves(chunk["actions"]), strict=True):
                to[rows] = leaf
            begin, extra = rows.stop, more.stop
    return pack_leaves(specs.time_step.observation, observations), pack_leaves(specs.action, actions)


def _empty(spec: Any, num_rows: int) -> np.ndarray:
    return np.empty((num_rows, *spec.shape), spec.dtype)


def _check_memory(
    folders: Sequence[str], specs: EnvironmentSpecs, num_rows: int, num_observations: int, available_bytes: int | None
) -> None:
    """Raises ConfigError if the arrays of so many steps and observations do not fit."""
    observation, action = (
        sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in flatten(nest))
        for nest in (specs.time_step.observation, specs.action)
    )
    needed = num_observations * observation + num_rows * (action + _ROW_BYTES)
    available = available_memory_bytes() if available_bytes is None else available_bytes
    if needed > available:
        raise ConfigError(
            f"{', '.join(folders)} takes {needed / 2**30:,.1f} GiB of memory, and {available / 2**30:,.1f} GiB are "
            "free: give fewer steps, lower updates_per_call, or learn on a machine with more memory"
        )
