"""CategoricalProjectionNetwork: a network from encodings to distributions over a discrete action."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.masked import MaskedCategorical
from distpolicy.distributions.shifted_categorical import ShiftedCategorical
from distpolicy.errors import ConfigError
from distpolicy.networks.layer_stacks import clone_initializer
from distpolicy.networks.network import DistributionNetwork
from distpolicy.networks.utils import apply_dense, with_inner_shape
from distpolicy.specs import tensor_spec
from distpolicy.specs.distribution_spec import DistributionSpec


class CategoricalProjectionNetwork(DistributionNetwork):
    """Computes logits by one dense layer, and returns the categorical distribution with these logits.

    An action with several elements has an independent categorical for each, and its log-probability is the sum over
    them. Elements may have different bounds.

    Args:
        sample_spec: Bounded integer spec of the action, with any minimum.
        logits_init_output_factor: Scale of the initial weights' variance.
        name: Name of the module.
        kernel_initializer: Initializer of the dense layer's kernel; replaces the one that
            ``logits_init_output_factor`` scales.
        seed: Seed of the initial weights; None to draw one.

    Raises:
        ValueError: If the spec is not discrete or has no bounds.
    """

    def __init__(
        self,
        sample_spec: Any,
        logits_init_output_factor: float = 0.1,
        name: str | None = "CategoricalProjectionNetwork",
        *,
        kernel_initializer: Any = None,
        seed: int | None = None,
    ) -> None:
        spec = tensor_spec.from_spec(sample_spec)
        if not tensor_spec.is_bounded(spec) or not tensor_spec.is_discrete(spec):
            raise ConfigError(f"{name}: sample_spec must be a bounded spec of integers, not {spec}")
        shape = spec.shape.as_list()
        minimum, maximum = (np.broadcast_to(bound, shape).astype(np.int64) for bound in (spec.minimum, spec.maximum))
        counts = maximum - minimum + 1
        num_actions = int(counts.max())
        params = {"logits": tensor_spec.TensorSpec([*shape, num_actions], tf.float32, "logits")}
        super().__init__(None, (), DistributionSpec(self._distribution, params, spec), name)
        self._spec = spec
        self._logits_shape = [*shape, num_actions]
        # One number if all elements have the same minimum, which saves broadcasting.
        self._minimum = int(minimum.min()) if minimum.min() == minimum.max() else minimum
        self._valid = None if (counts == num_actions).all() else np.arange(num_actions) < counts[..., np.newaxis]
        if kernel_initializer is None:
            kernel_initializer = keras.initializers.VarianceScaling(logits_init_output_factor)
        self._logits = keras.layers.Dense(
            int(np.prod(self._logits_shape)), kernel_initializer=clone_initializer(kernel_initializer, 0, seed)
        )

    def call(self, inputs: Any, outer_rank: int | None = None, training: bool = False, mask: Any = None) -> Any:
        """Returns the distribution over the action.

        Args:
            inputs: The encoding, float32 ``[..., units]``.
            outer_rank: Number of outer dimensions of the encoding; None for all but the last.
            training: Ignored.
            mask: bool or integer ``[..., n]``, shared by all elements of the action, or ``[..., *shape, n]``; 0 where
                a value must not be drawn. None for no mask.

        Returns:
            A distribution with batch shape ``[...]``, and ``()``.
        """
        logits = with_inner_shape(apply_dense(self._logits, inputs, outer_rank), self._logits_shape)
        return self._distribution(logits, mask), ()

    def _distribution(self, logits: tf.Tensor, mask: Any = None) -> tfp.distributions.Distribution:
        allowed = self._allowed(logits, mask)
        rank, dtype = len(self._logits_shape) - 1, self._spec.dtype
        if isinstance(self._minimum, np.ndarray) or self._minimum != 0:
            categorical = ShiftedCategorical(logits, dtype=dtype, shift=self._minimum, mask=allowed)
        elif allowed is not None:
            categorical = MaskedCategorical(logits, allowed, dtype=dtype, neg_inf=None)
        else:
            categorical = tfp.distributions.Categorical(logits, dtype=dtype)
        return categorical if rank == 0 else tfp.distributions.Independent(categorical, rank)

    def _allowed(self, logits: tf.Tensor, mask: Any) -> tf.Tensor | None:
        """Returns the mask of values that may be drawn, bool like ``logits``, or None for no mask."""
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            for _ in range(logits.shape.rank - mask.shape.rank):
                mask = mask[..., tf.newaxis, :]
            if self._valid is not None:
                mask = tf.logical_and(mask, self._valid)
        elif self._valid is not None:
            mask = tf.constant(self._valid)
        else:
            return None
        return tf.broadcast_to(mask, tf.shape(logits))
