"""DatasetSchema: the columns of a dataset and their specs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.policy_step import CommonFields
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, pack_leaves, paths
from workers.datasets.spec_json import nest_from_json, nest_to_json

ACTION_LOGP = "action_logp"
POLICY_INFO = "policy_info"

_INT32, _INT64 = ArraySpec((), np.int32), ArraySpec((), np.int64)
_BOOL = ArraySpec((), np.bool_)

# Columns that every dataset has, besides those from its specs.
_FIXED = {
    "terminateds": _BOOL,
    "truncateds": _BOOL,
    "eps_id": _INT64,
    "t": _INT64,
    "slot": _INT64,
    "step": _INT64,
    "step_type": _INT32,
    "next_step_type": _INT32,
    "weights_epoch": _INT64,
    "weights_version": _INT64,
    "cut": _BOOL,
}

# The columns by the names that readers give them, which are a Trajectory's.
_FIELDS = {
    "observation": "obs",
    "next_observation": "new_obs",
    "action": "actions",
    "reward": "rewards",
    "discount": "discount",
    "terminated": "terminateds",
    "truncated": "truncateds",
    **{name: name for name in _FIXED if name not in ("terminateds", "truncateds")},
}


@dataclass(frozen=True)
class DatasetSchema:
    """The columns of a dataset, made from the specs of one step.

    Attributes:
        time_step_spec: Array specs of one time step. The observation may be a nest.
        action_spec: Nest of array specs of one action.
        info_spec: Nest of array specs of the policy info.

    Raises:
        SpecMismatchError: If a leaf is not an array spec, has an unknown dimension, or has a dtype that cannot be
            stored, or if the observation or the action has no leaf.
    """

    time_step_spec: TimeStep
    action_spec: Any
    info_spec: Any = ()

    def __post_init__(self) -> None:
        nest_to_json((self.time_step_spec, self.action_spec, self.info_spec))
        for name, nest in (("observation", self.time_step_spec.observation), ("action", self.action_spec)):
            if not flatten(nest):
                raise SpecMismatchError(f"the {name} spec is empty; a dataset needs an array at least")

    @functools.cached_property
    def columns(self) -> dict[str, Any]:
        """The nest of specs of each column, by its name in the files.

        RLlib's offline algorithms read ``obs``, ``new_obs``, ``actions``, ``rewards``, ``terminateds``,
        ``truncateds``, ``eps_id``, ``t``, and ``action_logp``, which is the policy info's ``log_probability``. Every
        other leaf of the policy info is a column such as ``policy_info/value``.
        """
        time_step = self.time_step_spec
        return {
            "obs": time_step.observation,
            "new_obs": time_step.observation,
            "actions": self.action_spec,
            "rewards": time_step.reward,
            "discount": time_step.discount,
            **_FIXED,
            **dict(zip(self.info_columns, flatten(self.info_spec), strict=True)),
        }

    @functools.cached_property
    def info_columns(self) -> list[str]:
        """The column names of the policy info's leaves, in the order of ``flatten``."""
        log_probability = f"/{CommonFields.LOG_PROBABILITY}"
        return [ACTION_LOGP if path == log_probability else POLICY_INFO + path for path in paths(self.info_spec)]

    def steps_of(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Returns the columns of the files by their readers' names, with the policy info as a nest."""
        steps = {field: columns[name] for field, name in _FIELDS.items()}
        steps[POLICY_INFO] = pack_leaves(self.info_spec, [columns[name] for name in self.info_columns])
        return steps

    @property
    def step_spec(self) -> dict[str, Any]:
        """Nest of the specs of one step, as readers return it."""
        return self.steps_of(self.columns)

    def to_json(self) -> dict[str, Any]:
        """Returns the schema as a JSON value."""
        return {
            "time_step_spec": nest_to_json(self.time_step_spec),
            "action_spec": nest_to_json(self.action_spec),
            "info_spec": nest_to_json(self.info_spec),
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> DatasetSchema:
        """Returns the schema for a JSON value of :meth:`to_json`.

        Raises:
            ValueError, KeyError, TypeError: If the value does not come from :meth:`to_json`.
        """
        time_step, action, info = (nest_from_json(value[key]) for key in ("time_step_spec", "action_spec", "info_spec"))
        return DatasetSchema(TimeStep(*time_step), action, info)


def with_tuples(nest: Any) -> Any:
    """Returns the nest with tuples in place of lists."""
    if isinstance(nest, dict):
        return {key: with_tuples(child) for key, child in nest.items()}
    if isinstance(nest, tuple | list):
        children = [with_tuples(child) for child in nest]
        return type(nest)(*children) if hasattr(nest, "_fields") else tuple(children)
    return nest
