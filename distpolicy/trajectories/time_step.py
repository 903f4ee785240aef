"""TimeStep: what an environment returns, as in dm_env and TF-Agents.

The stream of one environment is FIRST, MID…, LAST, and then FIRST again. The action after LAST is ignored and the
environment resets (Gymnasium's ``AutoresetMode.NEXT_STEP``). Termination is LAST with discount 0, truncation is LAST
with discount 1.

The functions here take NumPy arrays or tensors. They import TensorFlow only for tensors, so a process without
TensorFlow can use them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.utils.nests.array_nest import flatten, map_structure


class StepType:
    """The place of a step in its episode: int32 scalars. ``StepType(1)`` is ``StepType.MID``."""

    FIRST = np.asarray(0, np.int32)
    MID = np.asarray(1, np.int32)
    LAST = np.asarray(2, np.int32)

    def __new__(cls, value: Any) -> Any:
        """Returns the step type with this number.

        Raises:
            ValueError: If ``value`` is not 0, 1 or 2.
        """
        for step_type in (cls.FIRST, cls.MID, cls.LAST):
            if np.ndim(value) == 0 and value == step_type:
                return step_type
        raise ValueError(f"{value!r} is not a step type; use 0 (FIRST), 1 (MID) or 2 (LAST)")


def is_tensor(value: Any) -> bool:
    """Returns True if the value is a tensor. Does not import TensorFlow."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and bool(tensorflow.is_tensor(value))


def equal(left: Any, right: Any) -> Any:
    """Returns True where two arrays, or a tensor and another value, are equal: bool of their shape."""
    if is_tensor(left):
        import tensorflow as tf

        return tf.equal(left, right)
    return np.equal(left, right)


class TimeStep(NamedTuple):
    """One step of an environment or of a batch of environments.

    Attributes:
        step_type: A :class:`StepType`, int32 ``[...]``.
        reward: Reward of the transition to this step, float32 ``[...]``; 0 at FIRST.
        discount: Discount in [0, 1], float32 ``[...]``; 0 where the episode terminated with this step.
        observation: Nest of ``[..., *shape]``.
    """

    step_type: Any
    reward: Any
    discount: Any
    observation: Any

    def is_first(self) -> Any:
        """Returns True where an episode begins: bool ``[...]``."""
        return equal(self.step_type, StepType.FIRST)

    def is_mid(self) -> Any:
        """Returns True where an episode goes on: bool ``[...]``."""
        return equal(self.step_type, StepType.MID)

    def is_last(self) -> Any:
        """Returns True where an episode ends: bool ``[...]``."""
        return equal(self.step_type, StepType.LAST)


def restart(observation: Any, batch_size: Any = None, reward_spec: Any = None) -> TimeStep:
    """Returns the FIRST step of an episode, with reward 0 and discount 1.

    Args:
        observation: Nest of arrays or tensors, ``[batch_size, ...]``, or ``[...]`` if ``batch_size`` is None.
        batch_size: Number of environments, as an int or a scalar tensor, or a list of several outer dimensions.
            None for one environment without a batch dimension.
        reward_spec: Nest of specs of one reward; None for a float32 scalar.
    """
    outer = () if batch_size is None else batch_size
    if _is_tensor_nest(observation):
        import tensorflow as tf

        dims = tf.reshape(tf.cast(outer, tf.int32), [-1])

        def zeros(spec: Any) -> Any:
            shape = tf.concat([dims, tf.constant(_dims(spec), tf.int32)], axis=0)
            return tf.zeros(shape, tf.as_dtype(spec.dtype))
    else:
        dims = np.reshape(np.asarray(outer, np.int64), -1)

        def zeros(spec: Any) -> Any:
            return np.zeros((*dims, *_dims(spec)), getattr(spec.dtype, "as_numpy_dtype", spec.dtype))

    reward = map_structure(zeros, ArraySpec((), np.float32) if reward_spec is None else reward_spec)
    return _make(StepType.FIRST, reward, 1.0, observation, dims)


def transition(observation: Any, reward: Any, discount: Any = 1.0, outer_dims: Sequence[int] | None = None) -> TimeStep:
    """Returns a MID step.

    Args:
        observation: Nest of arrays or tensors ``[*outer_dims, ...]``.
        reward: A number, a list of numbers, an array, a tensor, or a nest of these. Rewards are cast to float32, but
            with ``outer_dims`` arrays and tensors keep their dtype.
        discount: Discount in [0, 1], broadcast to the outer dimensions.
        outer_dims: The batch dimensions; None for the first reward's shape. Use ``()`` if one environment's reward is a
            vector.

    Raises:
        ValueError: If a reward or discount is NaN or None, or does not fit the outer dimensions. Tensors are not
            checked for NaN.
    """
    return _make(StepType.MID, _rewards(reward, observation, outer_dims), discount, observation, outer_dims)


def termination(observation: Any, reward: Any, outer_dims: Sequence[int] | None = None) -> TimeStep:
    """Returns the LAST step of an episode that terminated, with discount 0.

    Args:
        observation: See :func:`transition`.
        reward: See :func:`transition`.
        outer_dims: See :func:`transition`.

    Raises:
        ValueError: See :func:`transition`.
    """
    return _make(StepType.LAST, _rewards(reward, observation, outer_dims), 0.0, observation, outer_dims)


def truncation(observation: Any, reward: Any, discount: Any = 1.0, outer_dims: Sequence[int] | None = None) -> TimeStep:
    """Returns the LAST step of an episode that was truncated, for example by a time limit.

    Args:
        observation: See :func:`transition`.
        reward: See :func:`transition`.
        discount: See :func:`transition`.
        outer_dims: See :func:`transition`.

    Raises:
        ValueError: See :func:`transition`.
    """
    return _make(StepType.LAST, _rewards(reward, observation, outer_dims), discount, observation, outer_dims)


def _is_tensor_nest(nest: Any) -> bool:
    return any(is_tensor(leaf) for leaf in flatten(nest)[:1])


def _dims(spec: Any) -> list[int]:
    return [int(size) for size in spec.shape]


def _rewards(reward: Any, observation: Any, outer_dims: Any) -> Any:
    """Returns the rewards as arrays, or as tensors if the observation consists of tensors."""
    as_tensor = _is_tensor_nest(observation)

    def convert(value: Any) -> Any:
        if as_tensor:
            import tensorflow as tf

            if is_tensor(value):
                value = value if outer_dims is not None else tf.cast(value, tf.float32)
            else:
                value = tf.constant(_as_array(value, "reward", outer_dims is not None))
            missing = 0 if outer_dims is None else len(outer_dims) - value.shape.rank
            return tf.broadcast_to(value, outer_dims) if missing > 0 else value
        value = _as_array(value, "reward", outer_dims is not None)
        missing = 0 if outer_dims is None else len(outer_dims) - value.ndim
        return np.broadcast_to(value, tuple(outer_dims)).copy() if outer_dims is not None and missing > 0 else value

    def walk(nest: Any) -> Any:
        # A list of numbers is one reward array; a list of arrays is a nest of rewards.
        if isinstance(nest, list) and all(isinstance(leaf, int | float | np.generic) for leaf in flatten(nest)):
            return convert(nest)
        if isinstance(nest, dict):
            return type(nest)({key: walk(value) for key, value in nest.items()})
        if isinstance(nest, list | tuple):
            children = [walk(value) for value in nest]
            return type(nest)(*children) if hasattr(nest, "_fields") else type(nest)(children)
        return convert(nest)

    return walk(reward)


def _as_array(value: Any, what: str, keep_dtype: bool) -> np.ndarray:
    keep = keep_dtype and isinstance(value, np.ndarray | np.generic)
    array = np.array(value, None if keep else np.float32)
    if np.issubdtype(array.dtype, np.floating) and np.any(np.isnan(array)):
        raise ValueError(f"{what} is NaN or None: {value}")
    return array


def _make(step_type: np.ndarray, reward: Any, discount: Any, observation: Any, outer_dims: Any) -> TimeStep:
    if _is_tensor_nest(observation):
        import tensorflow as tf

        if outer_dims is None:
            first = flatten(reward)[0]
            outer_dims = first.shape if first.shape.is_fully_defined() else tf.shape(first)
        if not is_tensor(discount):
            discount = _as_array(discount, "discount", False)
        return TimeStep(
            tf.fill(outer_dims, tf.constant(step_type)),
            reward,
            tf.broadcast_to(tf.cast(discount, tf.float32), outer_dims),
            observation,
        )
    shape = np.shape(flatten(reward)[0]) if outer_dims is None else tuple(outer_dims)
    try:
        discount = np.broadcast_to(_as_array(discount, "discount", False), shape).copy()
    except ValueError as error:
        raise ValueError(f"discount does not fit the outer dimensions {shape}: {error}") from None
    return TimeStep(np.full(shape, step_type, np.int32), reward, discount, observation)


def time_step_spec(observation_spec: Any = None, reward_spec: Any = None) -> TimeStep:
    """Returns the spec of a time step, made of array specs or tensor specs like the arguments.

    Args:
        observation_spec: Nest of specs; None for a time step without specs.
        reward_spec: Nest of specs of one reward; None for a float32 scalar.

    Raises:
        SpecMismatchError: If a leaf is not a spec.
        TypeError: If array and tensor specs are mixed.
    """
    if observation_spec is None:
        return TimeStep((), (), (), ())
    given = [*flatten(observation_spec), *([] if reward_spec is None else flatten(reward_spec))]
    tensorflow = sys.modules.get("tensorflow")
    is_tensor_spec = [tensorflow is not None and isinstance(leaf, tensorflow.TypeSpec) for leaf in given]
    for leaf, of_tensors in zip(given, is_tensor_spec, strict=True):
        if not of_tensors and not isinstance(leaf, ArraySpec):
            raise SpecMismatchError(f"observation_spec must hold array or tensor specs, not {type(leaf).__name__}")
    if len(set(is_tensor_spec)) > 1:
        raise TypeError(f"observation and reward specs must all be array specs or all tensor specs, but are {given}")
    if not any(is_tensor_spec):
        return TimeStep(
            ArraySpec((), np.int32, "step_type"),
            ArraySpec((), np.float32, "reward") if reward_spec is None else reward_spec,
            BoundedArraySpec((), np.float32, 0.0, 1.0, "discount"),
            observation_spec,
        )
    from distpolicy.specs import tensor_spec

    return TimeStep(
        tensor_spec.TensorSpec((), np.int32, "step_type"),
        tensor_spec.TensorSpec((), np.float32, "reward") if reward_spec is None else reward_spec,
        tensor_spec.BoundedTensorSpec((), np.float32, 0.0, 1.0, "discount"),
        observation_spec,
    )
