"""TanhNormalProjectionNetwork: an encoding in, a normal squashed into the action's bounds out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.utils import SquashToSpecNormal, bounded_elements, diagonal_normal
from distpolicy.errors import ConfigError
from distpolicy.networks.layer_stacks import clone_initializer
from distpolicy.networks.network import DistributionNetwork
from distpolicy.networks.utils import apply_dense, with_inner_shape
from distpolicy.specs import tensor_spec
from distpolicy.specs.distribution_spec import DistributionSpec


class TanhNormalProjectionNetwork(DistributionNetwork):
    """Mean and standard deviation, both of the encoding, of a normal that tanh squashes into the action's bounds.

    Args:
        sample_spec: Spec of the action, float, with finite bounds, of any shape.
        activation_fn: Keras activation of the layer.
        std_transform: A function that makes deviations of the layer's outputs; None for none.
        name: Name of the module.
        kernel_initializer: Of the layer.
        seed: Seed of the initial weights; None to draw one.

    Raises:
        ValueError: If the spec is not of floats, or has bounds that are not finite.
    """

    def __init__(
        self,
        sample_spec: Any,
        activation_fn: Any = None,
        std_transform: Callable[[tf.Tensor], tf.Tensor] | None = tf.exp,
        name: str | None = "TanhNormalProjectionNetwork",
        *,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
    ) -> None:
        spec = tensor_spec.from_spec(sample_spec)
        if not tensor_spec.is_continuous(spec) or not bounded_elements(spec).all():
            raise ConfigError(f"{name}: sample_spec must be of floats with finite bounds, not {spec}")
        inner = tensor_spec.TensorSpec(spec.shape, spec.dtype)
        super().__init__(
            None, (), DistributionSpec(self._distribution, {"loc": inner, "scale_diag": inner}, sample_spec=spec), name
        )
        self._spec = spec
        self._std_transform = std_transform
        self._projection_layer = keras.layers.Dense(
            2 * int(np.prod(spec.shape.as_list())),
            activation=activation_fn,
            kernel_initializer=clone_initializer(kernel_initializer, 0, seed),
        )

    def call(self, inputs: Any, outer_rank: int | None = None, training: bool = False, mask: Any = None) -> Any:
        """Returns the distribution.

        Args:
            inputs: Encoding float32 ``[..., units]``.
            outer_rank: Number of its outer dimensions; None for all but the last.
            training: Has no effect.
            mask: Must be None.

        Returns:
            A distribution of batch shape ``[...]`` and the action's event shape, and ``()``.

        Raises:
            NotImplementedError: If there is a mask: a continuous action has no actions to leave out.
        """
        if mask is not None:
            raise NotImplementedError(
                f"{self.name}: a mask is only possible for discrete actions, not for {self._spec}"
            )
        shape = self._spec.shape.as_list()
        halves = tf.split(apply_dense(self._projection_layer, inputs, outer_rank), 2, axis=-1)
        means, stds = (tf.cast(with_inner_shape(half, shape), self._spec.dtype) for half in halves)
        if self._std_transform is not None:
            stds = self._std_transform(stds)
        return self._distribution(means, stds), ()

    def _distribution(self, loc: tf.Tensor, scale_diag: tf.Tensor) -> tfp.distributions.Distribution:
        return SquashToSpecNormal(diagonal_normal(loc, scale_diag, self._spec.shape.rank), self._spec)
