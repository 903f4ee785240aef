"""Policies of one matrix, for tests of those that wrap policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.q_policy import QPolicy
from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import StepType, TimeStep

OBSERVATION = ArraySpec((3,), np.float32, "observation")
MASKED_OBSERVATION = {"x": OBSERVATION, "mask": BoundedArraySpec((4,), np.int32, 0, 1, "mask")}
STEP_SPEC = ts.time_step_spec(OBSERVATION)
MASKED_STEP_SPEC = ts.time_step_spec(MASKED_OBSERVATION)
DISCRETE = BoundedArraySpec((), np.int64, 0, 3, "action")
SHIFTED = BoundedArraySpec((), np.int32, 5, 8, "action")
BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")


def split(observation: Any) -> tuple[Any, Any]:
    """Splits observations like ``MASKED_OBSERVATION``."""
    return observation["x"], observation["mask"]


class Linear(Network):
    """A matrix; with a state it is multiplied with a running sum of what it sees."""

    def __init__(self, shape: tuple[int, ...], recurrent: bool = False, seed: int = 0) -> None:
        super().__init__(OBSERVATION, tensor_spec.TensorSpec((3,), tf.float32) if recurrent else ())
        self._shape = shape
        kernel = np.random.default_rng(seed).normal(size=(3, int(np.prod(shape))))
        self.kernel = tf.Variable(kernel.astype(np.float32))

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        if self.state_spec != ():
            network_state = observation = 0.5 * network_state + observation
        rows = observation @ self.kernel
        return self.output(tf.reshape(rows, [*rows.shape[:-1], *self._shape])), network_state

    def output(self, values: tf.Tensor) -> Any:
        """What is made of the values."""
        return values


class LinearNormal(Linear):
    """A normal distribution around the values."""

    def output(self, values: tf.Tensor) -> Any:
        return tfp.distributions.MultivariateNormalDiag(values, 0.5 * tf.ones_like(values))


def q_policy(recurrent: bool = False, seed: int = 0, spec: Any = DISCRETE, **arguments: Any) -> QPolicy:
    """A QPolicy over four actions."""
    return QPolicy(STEP_SPEC, spec, Linear((4,), recurrent, seed), **arguments)


def masked_q_policy(spec: Any = DISCRETE, **arguments: Any) -> QPolicy:
    """The same with masks."""
    return QPolicy(MASKED_STEP_SPEC, spec, Linear((4,)), observation_and_action_constraint_splitter=split, **arguments)


def actor_policy(recurrent: bool = False, seed: int = 0, **arguments: Any) -> ActorPolicy:
    """A policy of normally distributed vectors of two."""
    return ActorPolicy(STEP_SPEC, BOX, LinearNormal((2,), recurrent, seed), **arguments)


def random_step(batch_size: int, seed: int = 0, step_type: Any = StepType.MID) -> TimeStep:
    """Tensors like ``STEP_SPEC``."""
    generator = np.random.default_rng(seed)
    return TimeStep(
        tf.constant(np.broadcast_to(np.asarray(step_type, np.int32), (batch_size,))),
        tf.zeros([batch_size]),
        tf.ones([batch_size]),
        tf.constant(generator.normal(size=(batch_size, 3)).astype(np.float32)),
    )


def masked_step(mask: Any, seed: int = 0) -> TimeStep:
    """Tensors like ``MASKED_STEP_SPEC``."""
    step = random_step(len(mask), seed)
    return step._replace(observation={"x": step.observation, "mask": tf.constant(mask, tf.int32)})


def seeds(num_rows: int, seed: int = 0) -> tf.Tensor:
    """A seed for each row."""
    return tf.constant(np.random.default_rng(seed).integers(2**31, size=(num_rows, 2), dtype=np.int32))
