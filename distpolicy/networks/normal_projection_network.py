"""NormalProjectionNetwork: a network from encodings to normal distributions over a continuous action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.utils import SquashToSpecNormal, action_scale, bounded_elements, diagonal_normal
from distpolicy.errors import ConfigError
from distpolicy.keras_layers.bias_layer import BiasLayer
from distpolicy.networks.layer_stacks import clone_initializer
from distpolicy.networks.network import DistributionNetwork
from distpolicy.networks.utils import apply_dense, with_inner_shape
from distpolicy.specs import tensor_spec
from distpolicy.specs.distribution_spec import DistributionSpec


def tanh_squash_to_spec(inputs: tf.Tensor, spec: Any) -> tf.Tensor:
    """Squashes inputs by tanh into the bounds of ``spec``. Elements without two bounds are only scaled."""
    center, scale = action_scale(spec)
    bounded = bounded_elements(spec)
    return center + scale * (tf.tanh(inputs) if bounded.all() else tf.where(bounded, tf.tanh(inputs), inputs))


def scale_to_spec(inputs: tf.Tensor, spec: Any) -> tf.Tensor:
    """Scales inputs so that -1 and 1 become the bounds of ``spec``; see :func:`action_scale` for open ones.

    Network outputs of order one then suit actions in any unit. Unlike with tanh, results may lie outside the bounds.
    """
    center, scale = action_scale(spec)
    return center + scale * inputs


class NormalProjectionNetwork(DistributionNetwork):
    """Computes the means and standard deviations of a normal distribution over one action.

    Args:
        sample_spec: Float spec of the action, of any shape. It may need bounds for ``mean_transform``.
        activation_fn: Keras activation of the means' layer.
        init_means_output_factor: Scale of the initial weights' variance.
        std_bias_initializer_value: Initial value of the standard deviation before ``std_transform``.
        mean_transform: Function of the means and ``sample_spec``, such as :func:`tanh_squash_to_spec`; None for none.
            Ignored with ``scale_distribution``, which squashes the draws.
        std_transform: Function from the layer's outputs to standard deviations, such as ``tf.exp``; None for none.
        state_dependent_std: Whether the standard deviation depends on the encoding instead of being one variable.
        scale_distribution: Whether draws are squashed by tanh into the bounds.
        seed: Seed of the initial weights; None to draw one.
        seed_stream_class: Ignored; keeps TF-Agents' order of arguments.
        name: Name of the module.
        kernel_initializer: Initializer of the kernels; replaces the one that ``init_means_output_factor`` scales.

    Raises:
        ValueError: If the spec is not of floats, or ``scale_distribution`` and a bound is infinite.
    """

    def __init__(
        self,
        sample_spec: Any,
        activation_fn: Any = None,
        init_means_output_factor: float = 0.1,
        std_bias_initializer_value: float = 0.0,
        mean_transform: Callable[[tf.Tensor, Any], tf.Tensor] | None = tanh_squash_to_spec,
        std_transform: Callable[[tf.Tensor], tf.Tensor] | None = tf.nn.softplus,
        state_dependent_std: bool = False,
        scale_distribution: bool = False,
        seed: int | None = None,
        seed_stream_class: Any = None,
        name: str | None = "NormalProjectionNetwork",
        *,
        kernel_initializer: Any = None,
    ) -> None:
        spec = tensor_spec.from_spec(sample_spec)
        if not tensor_spec.is_continuous(spec):
            raise ConfigError(f"{name}: sample_spec must be a spec of floats, not {spec}")
        inner = tensor_spec.TensorSpec(spec.shape, spec.dtype)
        super().__init__(
            None, (), DistributionSpec(self._distribution, {"loc": inner, "scale": inner}, sample_spec=spec), name
        )
        self._spec = spec
        self._mean_transform = None if scale_distribution else mean_transform
        self._std_transform = std_transform
        self._scale_distribution = scale_distribution
        if scale_distribution and not bounded_elements(spec).all():
            raise ConfigError(f"{name}: scale_distribution needs a sample_spec with finite bounds, not {spec}")
        if kernel_initializer is None:
            kernel_initializer = keras.initializers.VarianceScaling(init_means_output_factor)
        size = int(np.prod(spec.shape.as_list()))
        self._means_projection_layer = keras.layers.Dense(
            size, activation=activation_fn, kernel_initializer=clone_initializer(kernel_initializer, 0, seed)
        )
        bias = keras.initializers.Constant(float(std_bias_initializer_value))
        if state_dependent_std:
            self._stddev_projection_layer = keras.layers.Dense(
                size,
                activation=activation_fn,
                kernel_initializer=clone_initializer(kernel_initializer, 1, seed),
                bias_initializer=bias,
            )
        else:
            self._stddev_bias = BiasLayer(bias_initializer=bias)
        self._state_dependent_std = state_dependent_std

    def call(self, inputs: Any, outer_rank: int | None = None, training: bool = False, mask: Any = None) -> Any:
        """Returns the distribution over the action.

        Args:
            inputs: The encoding, float32 ``[..., units]``.
            outer_rank: Number of outer dimensions of the encoding; None for all but the last.
            training: Ignored.
            mask: Must be None.

        Returns:
            A distribution with batch shape ``[...]`` and the action's shape as event shape, and ``()``.

        Raises:
            NotImplementedError: If there is a mask, since masks are for discrete actions.
        """
        if mask is not None:
            raise NotImplementedError(
                f"{self.name}: a mask is only possible for discrete actions, not for {self._spec}"
            )
        means = apply_dense(self._means_projection_layer, inputs, outer_rank)
        if self._state_dependent_std:
            stds = apply_dense(self._stddev_projection_layer, inputs, outer_rank)
        else:
            stds = apply_dense(self._stddev_bias, tf.zeros_like(means), outer_rank)
        shape = self._spec.shape.as_list()
        means, stds = (tf.cast(with_inner_shape(item, shape), self._spec.dtype) for item in (means, stds))
        if self._mean_transform is not None:
            means = self._mean_transform(means, self._spec)
        if self._std_transform is not None:
            stds = self._std_transform(stds)
        return self._distribution(means, stds), ()

    def _distribution(self, loc: tf.Tensor, scale: tf.Tensor) -> tfp.distributions.Distribution:
        normal = diagonal_normal(loc, scale, self._spec.shape.rank)
        return SquashToSpecNormal(normal, self._spec) if self._scale_distribution else normal
