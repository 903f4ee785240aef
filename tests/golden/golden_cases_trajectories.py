"""Golden cases: trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome


def _parts(shape: tuple[int, ...], tensors: bool) -> tuple[Any, Any, Any, Any, Any]:
    size = int(np.prod(shape))
    parts = (
        np.arange(2 * size, dtype=np.float32).reshape((*shape, 2)),
        {"move": np.arange(size, dtype=np.int64).reshape(shape)},
        {"log_probability": -np.ones(shape, np.float32)},
        np.arange(size, dtype=np.float32).reshape(shape),
        np.full(shape, 0.5, np.float32),
    )
    return tf.nest.map_structure(tf.constant, parts) if tensors else parts


_KINDS = ("first", "mid", "last", "single_step", "boundary")
_SHAPES: dict[str, tuple[tuple[int, ...], bool]] = {
    "scalar": ((), False),
    "batch": ((2,), False),
    "tensor": ((2,), True),
    "batch_and_time": ((2, 3), True),
}


@cases("trajectory", {f"{kind}/{name}": (kind, *shape) for kind in _KINDS for name, shape in _SHAPES.items()})
def constructors(ns: Any, kind: str, shape: tuple[int, ...], tensors: bool) -> Any:
    made = getattr(ns.trajectory, kind)(*_parts(shape, tensors))
    # What went in comes out; only the two kinds are made.
    assert made.observation is not None
    return made._replace(observation=(), action=(), policy_info=())


@case("trajectory/constructors_keep_their_parts")
def keep_parts(ns: Any) -> Any:
    return ns.trajectory.first(*_parts((2,), False))


def _make(ns: Any, kinds: list[int], next_kinds: list[int], tensors: bool) -> Any:
    steps = len(kinds)
    arrays = ns.trajectory.Trajectory(
        step_type=np.array([kinds], np.int32),
        observation=np.arange(2 * steps, dtype=np.float32).reshape(1, steps, 2),
        action=np.arange(steps, dtype=np.int64)[None],
        policy_info=(),
        next_step_type=np.array([next_kinds], np.int32),
        reward=np.arange(1, steps + 1, dtype=np.float32)[None],
        discount=np.array([[0.0 if kind == 2 else 1.0 for kind in next_kinds]], np.float32),
    )
    return tf.nest.map_structure(tf.constant, arrays) if tensors else arrays


_STREAM = ([0, 1, 1, 2, 0], [1, 1, 2, 0, 1])


@cases("trajectory/predicates", {"array": (False,), "tensor": (True,)})
def predicates(ns: Any, tensors: bool) -> Any:
    made = _make(ns, *_STREAM, tensors)
    return {
        "first": made.is_first(),
        "mid": made.is_mid(),
        "last": made.is_last(),
        "boundary": made.is_boundary(),
        "replaced": made.replace(action=()),
    }


@cases("trajectory/from_episode", {"array": (False,), "tensor": (True,)})
def from_episode(ns: Any, tensors: bool) -> Any:
    observation, action, info, reward, discount = _parts((4,), tensors)
    made = ns.trajectory
    return {
        "default_discount": made.from_episode(observation, action, info, reward),
        "discount": made.from_episode(observation, action, info, reward, discount),
        "too_short": outcome(lambda: made.from_episode(observation, action, info, reward[:3])),
    }


def _steps(ns: Any, tensors: bool) -> Any:
    convert = tf.constant if tensors else (lambda leaf: leaf)
    time_step = ns.time_step.TimeStep(
        np.array([0, 1], np.int32), np.zeros(2, np.float32), np.ones(2, np.float32), np.ones((2, 3), np.float32)
    )
    next_step = ns.time_step.TimeStep(
        np.array([1, 2], np.int32),
        np.array([1, 2], np.float32),
        np.array([1, 0], np.float32),
        np.full((2, 3), 2, np.float32),
    )
    step = ns.policy_step.PolicyStep(np.array([3, 4]), (np.zeros(2),), {"a": np.array([5, 6])})
    return tf.nest.map_structure(convert, (time_step, step, next_step))


@cases("trajectory/from_transition", {"array": (False,), "tensor": (True,)})
def from_transition(ns: Any, tensors: bool) -> Any:
    return ns.trajectory.from_transition(*_steps(ns, tensors))


@case("trajectory/to_transition")
def to_transition(ns: Any) -> Any:
    made = _make(ns, *_STREAM, tensors=True)
    first = tf.nest.map_structure(lambda leaf: leaf[:, 0], made)
    second = tf.nest.map_structure(lambda leaf: leaf[:, 1], made)
    return {"frames": ns.trajectory.to_transition(made), "pair": ns.trajectory.to_transition(first, second)}


@case("trajectory/to_transition_of_arrays")
def to_transition_arrays(ns: Any) -> Any:
    return ns.trajectory.to_transition(_make(ns, *_STREAM, tensors=False))


@case("trajectory/to_transition_spec")
def to_transition_spec(ns: Any) -> Any:
    spec = ns.tensor_spec.TensorSpec
    kinds = spec((), tf.int32, "step_type")
    trajectory = ns.trajectory.Trajectory(
        kinds,
        spec((2,), tf.float32, "observation"),
        spec((), tf.int64, "action"),
        (),
        kinds,
        spec((), tf.float32, "reward"),
        spec((), tf.float32, "discount"),
    )
    return ns.trajectory.to_transition_spec(trajectory)


@cases("trajectory/to_n_step_transition", {"whole": (1.0,), "discounted": (0.9,)})
def to_n_step(ns: Any, gamma: float) -> Any:
    made = _make(ns, [0, 1, 1, 1], [1, 1, 1, 1], tensors=True)
    return ns.trajectory.to_n_step_transition(made, gamma=gamma)


@case("trajectory/to_n_step_transition_over_a_termination")
def to_n_step_termination(ns: Any) -> Any:
    return ns.trajectory.to_n_step_transition(_make(ns, [0, 1, 2, 0], [1, 2, 0, 1], tensors=True), gamma=0.9)


@case("trajectory/to_n_step_transition_over_a_truncation")
def to_n_step_truncation(ns: Any) -> Any:
    made = _make(ns, [0, 1, 2, 0], [1, 2, 0, 1], tensors=True)
    made = made.replace(discount=tf.ones_like(made.discount))
    return ns.trajectory.to_n_step_transition(made, gamma=0.9)


@case("trajectory/errors")
def errors(ns: Any) -> Any:
    made = _make(ns, [0], [1], tensors=True)
    flat = tf.nest.map_structure(lambda leaf: leaf[0, 0], made)
    return {
        "n_step_of_one_frame": outcome(lambda: ns.trajectory.to_n_step_transition(made, gamma=0.9)),
        "transition_of_no_time": outcome(lambda: ns.trajectory.to_transition(flat)),
        "n_step_of_no_time": outcome(lambda: ns.trajectory.to_n_step_transition(flat, gamma=0.9)),
    }


@case("trajectory/experience_to_transitions")
def experience(ns: Any) -> Any:
    made = _make(ns, [0, 1], [1, 1], tensors=True)
    return ns.trajectory.experience_to_transitions(made, squeeze_time_dim=True)


@case("trajectory/fields")
def fields(ns: Any) -> Any:
    return [list(ns.trajectory.Trajectory._fields), list(ns.trajectory.Transition._fields)]
