"""TimeStep: what an environment tells, as in dm_env and TF-Agents.

The stream of one environment slot is FIRST, MID…, LAST, and then FIRST again: the action given after
LAST is ignored, and the environment resets (Gymnasium's ``AutoresetMode.NEXT_STEP``). Termination is
LAST with discount 0, truncation LAST with discount 1.

The functions here take NumPy arrays or tensors; TensorFlow is only imported where a tensor comes in, so
that a process without TensorFlow can use them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec


class StepType:
    """The place of a step in its episode."""

    FIRST = np.asarray(0, np.int32)
    MID = np.asarray(1, np.int32)
    LAST = np.asarray(2, np.int32)


def _is_tensor(value: Any) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and bool(tensorflow.is_tensor(value))


def _equal(left: Any, right: Any) -> Any:
    if _is_tensor(left):
        import tensorflow as tf

        return tf.equal(left, right)
    return np.equal(left, right)


class TimeStep(NamedTuple):
    """One step of an environment, or of a batch of them.

    Attributes:
        step_type: int32 ``[...]``, a :class:`StepType`.
        reward: float32 ``[...]``, of the transition that led here; 0 at FIRST.
        discount: float32 ``[...]`` in [0, 1]; 0 where the episode terminated here.
        observation: A nest of ``[..., *shape]``.
    """

    step_type: Any
    reward: Any
    discount: Any
    observation: Any

    def is_first(self) -> Any:
        """Where an episode begins: bool ``[...]``."""
        return _equal(self.step_type, StepType.FIRST)

    def is_mid(self) -> Any:
        """Where an episode goes on: bool ``[...]``."""
        return _equal(self.step_type, StepType.MID)

    def is_last(self) -> Any:
        """Where an episode ends: bool ``[...]``."""
        return _equal(self.step_type, StepType.LAST)


def _first_leaf(nest: Any) -> Any:
    if isinstance(nest, dict):
        return _first_leaf(nest[sorted(nest)[0]])
    if isinstance(nest, tuple | list):
        return _first_leaf(nest[0])
    return nest


def _make(step_type: np.ndarray, reward: Any, discount: Any, observation: Any, shape: tuple[int, ...]) -> TimeStep:
    if _is_tensor(_first_leaf(observation)):
        import tensorflow as tf

        return TimeStep(
            tf.fill(shape, tf.constant(step_type)),
            tf.broadcast_to(tf.cast(reward, tf.float32), shape),
            tf.broadcast_to(tf.cast(discount, tf.float32), shape),
            observation,
        )
    return TimeStep(
        np.full(shape, step_type, np.int32),
        np.broadcast_to(np.asarray(reward, np.float32), shape).copy(),
        np.broadcast_to(np.asarray(discount, np.float32), shape).copy(),
        observation,
    )


def _shape(reward: Any, outer_dims: Sequence[int] | None) -> tuple[int, ...]:
    if outer_dims is not None:
        return tuple(outer_dims)
    return tuple(np.shape(reward)) if not _is_tensor(reward) else tuple(reward.shape)


def restart(observation: Any, batch_size: int | None = None) -> TimeStep:
    """The FIRST step of an episode: reward 0, discount 1.

    Args:
        observation: A nest of arrays or tensors, ``[batch_size, ...]`` if that is given.
        batch_size: Number of environments, or None for one without a batch dimension.
    """
    shape = () if batch_size is None else (int(batch_size),)
    return _make(StepType.FIRST, 0.0, 1.0, observation, shape)


def transition(observation: Any, reward: Any, discount: Any = 1.0, outer_dims: Sequence[int] | None = None) -> TimeStep:
    """A MID step. ``outer_dims`` is the reward's shape unless given."""
    return _make(StepType.MID, reward, discount, observation, _shape(reward, outer_dims))


def termination(observation: Any, reward: Any, outer_dims: Sequence[int] | None = None) -> TimeStep:
    """The LAST step of an episode that ended by itself: discount 0."""
    return _make(StepType.LAST, reward, 0.0, observation, _shape(reward, outer_dims))


def truncation(observation: Any, reward: Any, discount: Any = 1.0, outer_dims: Sequence[int] | None = None) -> TimeStep:
    """The LAST step of an episode that was cut, say by a time limit: the discount stays."""
    return _make(StepType.LAST, reward, discount, observation, _shape(reward, outer_dims))


def time_step_spec(observation_spec: Any) -> TimeStep:
    """The spec of a time step with these observations: array specs, or tensor specs if those are given.

    Raises:
        SpecMismatchError: If the first leaf is neither.
    """
    leaf = _first_leaf(observation_spec)
    if isinstance(leaf, ArraySpec):
        return TimeStep(
            ArraySpec((), np.int32, "step_type"),
            ArraySpec((), np.float32, "reward"),
            BoundedArraySpec((), np.float32, 0.0, 1.0, "discount"),
            observation_spec,
        )
    if "tensorflow" in sys.modules:
        from distpolicy.specs import tensor_spec

        if isinstance(leaf, tensor_spec.TensorSpec | tensor_spec.BoundedTensorSpec):
            return TimeStep(
                tensor_spec.TensorSpec((), np.int32, "step_type"),
                tensor_spec.TensorSpec((), np.float32, "reward"),
                tensor_spec.BoundedTensorSpec((), np.float32, 0.0, 1.0, "discount"),
                observation_spec,
            )
    raise SpecMismatchError(f"observation_spec must hold array or tensor specs, not {type(leaf).__name__}")
