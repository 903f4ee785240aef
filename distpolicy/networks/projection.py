"""Networks that turn an encoding into an action distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.shifted_categorical import shifted_categorical
from distpolicy.specs.tensor_spec import BoundedTensorSpec


class Projection(Protocol):
    """An encoding ``[B, units]`` in, a distribution of batch shape ``[B]`` out."""

    def __call__(self, encoding: tf.Tensor) -> tfp.distributions.Distribution: ...


ProjectionFactory = Callable[[BoundedTensorSpec, int], Projection]


class CategoricalProjection(tf.Module):
    """A categorical distribution over one discrete action.

    Args:
        action_spec: Discrete, of shape ``()``; its minimum may be any integer.
        seed: Seed of the initial weights.
    """

    def __init__(self, action_spec: BoundedTensorSpec, seed: int) -> None:
        super().__init__()
        if action_spec.shape.rank != 0:
            raise NotImplementedError(
                f"a discrete action of shape {action_spec.shape} is not supported yet; use a scalar Discrete action"
            )
        self._minimum = int(action_spec.minimum)
        self._dtype = action_spec.dtype
        num_actions = int(action_spec.maximum) - self._minimum + 1
        self._logits = keras.layers.Dense(
            num_actions, kernel_initializer=keras.initializers.Orthogonal(0.01, seed=seed)
        )

    def __call__(self, encoding: tf.Tensor) -> tfp.distributions.Distribution:
        logits = self._logits(encoding)
        if self._minimum == 0:
            return tfp.distributions.Categorical(logits=logits, dtype=self._dtype)
        return shifted_categorical(logits, self._minimum, self._dtype)


class _Gaussian(tf.Module):
    """Mean from the encoding; a standard deviation that is learned but does not depend on it."""

    def __init__(self, action_spec: BoundedTensorSpec, seed: int, initial_log_stddev: float) -> None:
        super().__init__()
        self._shape: Sequence[int] = action_spec.shape.as_list()
        size = int(np.prod(self._shape))
        self._mean = keras.layers.Dense(size, kernel_initializer=keras.initializers.Orthogonal(0.01, seed=seed))
        self._log_stddev = tf.Variable(tf.fill([size], float(initial_log_stddev)), name="log_stddev")

    def _base(self, encoding: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean = self._mean(encoding)
        stddev = tf.broadcast_to(tf.exp(self._log_stddev), tf.shape(mean))
        shape = tf.concat([tf.shape(encoding)[:-1], tf.constant(self._shape, tf.int32)], axis=0)
        return tf.reshape(mean, shape), tf.reshape(stddev, shape)


class NormalProjection(_Gaussian):
    """An unbounded normal in the middle of the action's bounds; samples are clipped where they are used.

    Unit deviation is half the width of the bounds, so that the network's outputs are of order one
    whatever the action's units; an action without finite bounds is taken as it is.

    Args:
        action_spec: Continuous, of any shape.
        seed: Seed of the initial weights.
        initial_log_stddev: Logarithm of the initial standard deviation, in half widths of the bounds.
    """

    def __init__(self, action_spec: BoundedTensorSpec, seed: int, initial_log_stddev: float = -0.5) -> None:
        super().__init__(action_spec, seed, initial_log_stddev)
        self._center, self._half_width = action_scale(action_spec)

    def __call__(self, encoding: tf.Tensor) -> tfp.distributions.Distribution:
        mean, stddev = self._base(encoding)
        normal = tfp.distributions.Normal(self._center + mean * self._half_width, stddev * self._half_width)
        return tfp.distributions.Independent(normal, reinterpreted_batch_ndims=len(self._shape))


class TanhNormalProjection(_Gaussian):
    """A normal squashed by tanh into the action's bounds (Haarnoja et al., 2018, appendix C).

    Args:
        action_spec: Continuous, with finite bounds.
        seed: Seed of the initial weights.
        initial_log_stddev: Logarithm of the standard deviation before squashing.
    """

    def __init__(self, action_spec: BoundedTensorSpec, seed: int, initial_log_stddev: float = -0.5) -> None:
        super().__init__(action_spec, seed, initial_log_stddev)
        self._center, self._half_width = action_scale(action_spec)

    def __call__(self, encoding: tf.Tensor) -> tfp.distributions.Distribution:
        mean, stddev = self._base(encoding)
        bijector = tfp.bijectors.Chain(
            [tfp.bijectors.Shift(self._center), tfp.bijectors.Scale(self._half_width), tfp.bijectors.Tanh()]
        )
        squashed = SquashedNormal(tfp.distributions.Normal(mean, stddev), bijector)
        return tfp.distributions.Independent(squashed, reinterpreted_batch_ndims=len(self._shape))


class SquashedNormal(tfp.distributions.TransformedDistribution):
    """A transformed normal that has a mode (the transformed mean) and an entropy (of the normal beneath).

    The entropy is that of the normal plus the squashing's log-slope at its mean: TFP has none for it,
    and the bonus only has to grow with the spread.
    """

    def _mode(self, **kwargs: Any) -> tf.Tensor:
        return self.bijector.forward(self.distribution.mean())

    def _entropy(self, **kwargs: Any) -> tf.Tensor:
        normal = self.distribution
        return normal.entropy() + self.bijector.forward_log_det_jacobian(normal.mean(), event_ndims=0)


def action_scale(action_spec: BoundedTensorSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """Centre and half width of the action's bounds, float32; 0 and 1 where a bound is not finite."""
    minimum = np.broadcast_to(action_spec.minimum, action_spec.shape).astype(np.float64)
    maximum = np.broadcast_to(action_spec.maximum, action_spec.shape).astype(np.float64)
    finite = (minimum > -1e30) & (maximum < 1e30) & (maximum > minimum)
    with np.errstate(over="ignore"):
        center = np.where(finite, (minimum + maximum) / 2.0, 0.0)
        half_width = np.where(finite, (maximum - minimum) / 2.0, 1.0)
    return tf.constant(center, tf.float32), tf.constant(half_width, tf.float32)
