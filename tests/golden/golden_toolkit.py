"""What several golden cases need: time steps, small networks with fixed weights, and summaries of distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

OBSERVATIONS = np.array([[1.0, -2.0], [0.5, 3.0], [-4.0, 0.25]], np.float32)


def observation_spec() -> tf.TensorSpec:
    return tf.TensorSpec((2,), tf.float32, "observation")


def step_spec(ns: Any, observation: Any = None) -> Any:
    """The specs of a time step; its observation is a float vector of two unless given."""
    return ns.time_step.time_step_spec(observation_spec() if observation is None else observation)


def discrete(ns: Any, num: int = 3, minimum: int = 0) -> Any:
    return ns.tensor_spec.BoundedTensorSpec((), tf.int64, minimum, minimum + num - 1, "action")


def continuous(ns: Any, minimum: Any = -1.0, maximum: Any = 1.0, shape: tuple[int, ...] = (2,)) -> Any:
    return ns.tensor_spec.BoundedTensorSpec(shape, tf.float32, minimum, maximum, "action")


def time_step(ns: Any, kinds: Any = (1, 1, 1), observation: Any = None) -> Any:
    """A batch of these step types as tensors, with :data:`OBSERVATIONS` unless others are given."""
    kinds = np.array(kinds, np.int32)
    observation = OBSERVATIONS[: kinds.size].reshape((*kinds.shape, 2)) if observation is None else observation
    tensors = tf.nest.map_structure(tf.constant, observation)
    rewards, discounts = np.zeros(kinds.shape, np.float32), np.ones(kinds.shape, np.float32)
    return ns.time_step.TimeStep(tf.constant(kinds), tf.constant(rewards), tf.constant(discounts), tensors)


def function_network(ns: Any, function: Any, spec: Any = None, state_spec: Any = (), weights: Any = ()) -> Any:
    """A user's network around ``function(weights, observation, step_type, state)``."""

    class FunctionNetwork(ns.network.Network):
        def __init__(self, spec: Any, state_spec: Any) -> None:
            super().__init__(input_tensor_spec=spec, state_spec=state_spec, name="FunctionNetwork")
            self.held = [tf.Variable(value, name=f"weight_{i}") for i, value in enumerate(weights)]

        def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
            return function(self.held, observation, step_type, network_state)

    return FunctionNetwork(observation_spec() if spec is None else spec, state_spec)


def linear_network(ns: Any, kernel: Any, to_output: Any = None, spec: Any = None) -> Any:
    """A user's network that multiplies the observation by a kernel, which is its variable."""

    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        del step_type
        output = tf.linalg.matmul(observation, weights[0])
        return output if to_output is None else to_output(output), state

    return function_network(ns, call, spec, weights=[np.asarray(kernel, np.float32)])


KERNEL = [[1.0, -0.5, 0.25], [0.5, 0.75, -1.0]]


def masked_logits_network(ns: Any) -> Any:
    """A user's network that takes a mask of actions and returns a categorical distribution."""

    class MaskedLogits(ns.network.Network):
        def __init__(self, spec: Any) -> None:
            super().__init__(input_tensor_spec=spec, state_spec=(), name="MaskedLogits")
            self.kernel = tf.Variable(KERNEL)

        def call(
            self,
            observation: Any,
            step_type: Any = None,
            network_state: Any = (),
            training: bool = False,
            mask: Any = None,
        ) -> Any:
            logits = tf.linalg.matmul(observation, self.kernel)
            if mask is not None:
                logits = tf.where(tf.cast(mask, tf.bool), logits, -1e9)
            return tfp.distributions.Categorical(logits=logits, dtype=tf.int64), network_state

    return MaskedLogits(observation_spec())


def fill(variables: Any) -> None:
    """Sets variables to values that follow from their shapes alone, whatever their order."""
    for variable in variables:
        size = int(np.prod(variable.shape))
        values = np.sin(np.arange(1, size + 1, dtype=np.float64) * (1.0 + len(variable.shape))).astype(np.float32)
        variable.assign(values.reshape(variable.shape))


def logits_of(distribution: Any, num: int, minimum: int = 0) -> Any:
    """The log-probabilities ``[B, num]`` of a categorical distribution's values."""
    columns = [distribution.log_prob(tf.constant(minimum + i, distribution.dtype)) for i in range(num)]
    return tf.stack(columns, axis=-1)


def summary(distribution: Any, probe: Any) -> Any:
    """The mode, the log-probability of a probe, the dtype and the shapes of a distribution."""
    return {
        "mode": distribution.mode(),
        "log_prob": distribution.log_prob(probe),
        "dtype": distribution.dtype,
        "batch_shape": distribution.batch_shape,
        "event_shape": distribution.event_shape,
    }
