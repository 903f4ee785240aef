"""Wrappers that change actions."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.wrapper_base import PyEnvironmentBaseWrapper
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec, is_bounded, is_discrete
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, pack_leaves


class ActionDiscretizeWrapper(PyEnvironmentBaseWrapper):
    """Makes a continuous action discrete: each element takes one of several values, evenly spaced over its bounds.

    Args:
        env: The environment, with one bounded action and without a batch dimension.
        num_actions: Number of values of each element, 2 or more: a number, or an array of the action's shape.
        handle_auto_reset: See :class:`PyEnvironment`.

    Raises:
        ValueError: If there is more than one action, or an element has less than 2 values.
    """

    def __init__(self, env: PyEnvironment, num_actions: Any, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        self._refuse_batches()
        specs = flatten(env.action_spec())
        if len(specs) != 1:
            raise ConfigError(f"the environment must have one action, not {env.action_spec()}")
        (self._original,) = specs
        counts = np.broadcast_to(num_actions, self._original.shape)
        if not (counts >= 2).all():
            raise ConfigError(f"num_actions must be 2 or more for each element, but are {num_actions}")
        # An agent that takes one discrete action takes a scalar.
        shape = () if self._original.shape == (1,) else self._original.shape
        largest = counts.flat[0] - 1 if (counts == counts.flat[0]).all() else (counts - 1).reshape(shape)
        self._spec = BoundedArraySpec(shape, np.int32, 0, largest, self._original.name)
        low, high = (
            np.broadcast_to(bound, self._original.shape) for bound in (self._original.minimum, self._original.maximum)
        )
        self._values = [
            np.linspace(first, last, num=int(count))
            for first, last, count in zip(low.flat, high.flat, counts.flat, strict=True)
        ]

    def action_spec(self) -> Any:
        return self._spec

    def _step(self, action: Any) -> TimeStep:
        action = np.asarray(action)
        if action.shape != self._spec.shape:
            raise SpecMismatchError(f"the action must have shape {self._spec.shape}, but has {action.shape}")
        values = [values[index] for values, index in zip(self._values, action.flat, strict=True)]
        leaf = np.asarray(values, self._original.dtype).reshape(self._original.shape)
        return self._env.step(pack_leaves(self._env.action_spec(), [leaf]))


class ActionClipWrapper(PyEnvironmentBaseWrapper):
    """Clips actions to their bounds."""

    def _step(self, action: Any) -> TimeStep:
        def clipped(spec: ArraySpec, leaf: Any) -> Any:
            return np.clip(leaf, spec.minimum, spec.maximum) if isinstance(spec, BoundedArraySpec) else leaf

        return self._env.step(map_structure(clipped, self._env.action_spec(), action))


class ActionOffsetWrapper(PyEnvironmentBaseWrapper):
    """Lets a discrete action begin at 0.

    Args:
        env: The environment, with one discrete action.
        handle_auto_reset: See :class:`PyEnvironment`.

    Raises:
        ValueError: If the action is a nest, has no bounds, or is not discrete.
    """

    def __init__(self, env: PyEnvironment, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        spec = env.action_spec()
        if not isinstance(spec, ArraySpec) or not is_bounded(spec) or not is_discrete(spec):
            raise ConfigError(f"ActionOffsetWrapper takes one bounded discrete action, not {spec}")

    def action_spec(self) -> Any:
        spec = self._env.action_spec()
        return BoundedArraySpec(spec.shape, spec.dtype, 0, spec.maximum - spec.minimum, spec.name)

    def _step(self, action: Any) -> TimeStep:
        spec = self._env.action_spec()
        return self._env.step(np.asarray(action + spec.minimum, spec.dtype))


class OneHotActionWrapper(PyEnvironmentBaseWrapper):
    """Takes discrete actions as one-hot vectors.

    Args:
        env: The environment.
        handle_auto_reset: See :class:`PyEnvironment`.

    Raises:
        ValueError: If a discrete action has more than one dimension; when a step is taken, if an action has another
            shape or dtype than its spec.
    """

    def __init__(self, env: PyEnvironment, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        self._spec = map_structure(_one_hot_spec, env.action_spec())

    def action_spec(self) -> Any:
        return self._spec

    def _step(self, action: Any) -> TimeStep:
        def decoded(spec: Any, outer: ArraySpec, leaf: Any) -> Any:
            leaf = np.asarray(leaf)
            if leaf.dtype != outer.dtype or leaf.shape[leaf.ndim - len(outer.shape) :] != outer.shape:
                raise SpecMismatchError(f"an action must match {outer}, but is {leaf.dtype} {leaf.shape}")
            if not is_discrete(spec):
                return leaf
            return np.asarray(spec.minimum + np.argmax(leaf, axis=-1), spec.dtype)

        return self._env.step(map_structure(decoded, self._env.action_spec(), self._spec, action))


class FlattenActionWrapper(PyEnvironmentBaseWrapper):
    """Takes a nest of actions as one vector, in the order of sorted keys.

    Args:
        env: The environment. Its actions have at most one dimension.
        flat_dtype: Dtype of the vector; None for the actions' own, which must then be the same.
        handle_auto_reset: See :class:`PyEnvironment`.

    Raises:
        ValueError: If an action has more dimensions, or the dtypes differ.
    """

    def __init__(self, env: PyEnvironment, flat_dtype: Any = None, handle_auto_reset: bool = False) -> None:
        super().__init__(env, handle_auto_reset)
        self._leaves = flatten(env.action_spec())
        if any(len(leaf.shape) > 1 for leaf in self._leaves):
            raise ConfigError(f"FlattenActionWrapper takes actions of at most one dimension, not {env.action_spec()}")
        dtypes = {leaf.dtype for leaf in self._leaves}
        if flat_dtype is None and len(dtypes) > 1:
            raise ConfigError(f"give flat_dtype, since the actions have several: {sorted(map(str, dtypes))}")
        dtype = self._leaves[0].dtype if flat_dtype is None else np.dtype(flat_dtype)
        self._ends = np.cumsum([int(np.prod(leaf.shape)) for leaf in self._leaves])
        shape, name = (int(self._ends[-1]),), "FlattenedActionSpec"
        if all(isinstance(leaf, BoundedArraySpec) for leaf in self._leaves):
            low, high = (
                np.concatenate([np.broadcast_to(getattr(leaf, bound), leaf.shape).ravel() for leaf in self._leaves])
                for bound in ("minimum", "maximum")
            )
            self._spec: ArraySpec = BoundedArraySpec(shape, dtype, low, high, name)
        else:
            self._spec = ArraySpec(shape, dtype, name)

    def action_spec(self) -> Any:
        return self._spec

    def _step(self, action: Any) -> TimeStep:
        parts = np.split(np.asarray(action), self._ends[:-1], axis=-1)
        leaves = [
            np.asarray(part.reshape((*part.shape[:-1], *leaf.shape)), leaf.dtype)
            for part, leaf in zip(parts, self._leaves, strict=True)
        ]
        return self._env.step(pack_leaves(self._env.action_spec(), leaves))


def _one_hot_spec(spec: ArraySpec) -> ArraySpec:
    if not is_discrete(spec):
        return spec
    if len(spec.shape) > 1 or not isinstance(spec, BoundedArraySpec):
        raise ConfigError(f"OneHotActionWrapper takes bounded discrete actions of one dimension, not {spec}")
    (num_values,) = np.unique(spec.maximum - spec.minimum + 1)
    return BoundedArraySpec((*spec.shape, int(num_values)), spec.dtype, 0, 1, "one_hot_action_spec")
