"""Running statistics of tensors, and normalisation by them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class StreamingTensorNormalizer(tf.Module):
    """Mean and variance over all values seen, merged exactly.

    Batches are merged by the parallel formula of Chan, Golub and LeVeque ("Algorithms for computing the
    sample variance", 1983) in float64, so that the result is that of one pass over all data. Before the
    first update it leaves values as they are.

    Args:
        tensor_spec: The spec of one value, without batch dimensions.
        name: Name of the module.
    """

    def __init__(self, tensor_spec: Any, name: str = "streaming_tensor_normalizer") -> None:
        super().__init__(name=name)
        shape = tf.TensorShape(tensor_spec.shape)
        self.count = tf.Variable(tf.zeros((), tf.float64), trainable=False, name="count")
        self.mean = tf.Variable(tf.zeros(shape, tf.float64), trainable=False, name="mean")
        self.sum_of_squares = tf.Variable(tf.zeros(shape, tf.float64), trainable=False, name="sum_of_squares")

    def update(self, tensor: tf.Tensor, weight: tf.Tensor | None = None) -> None:
        """Merges a batch into the statistics.

        Args:
            tensor: ``[..., *shape]``.
            weight: ``[...]``, 1 where the value counts and 0 where it does not; None if all count.
        """
        rank = self.mean.shape.rank
        values = tf.cast(tensor, tf.float64)
        outer = values.shape.rank - rank
        axes = list(range(outer))
        weights = tf.ones(tf.shape(values)[:outer], tf.float64) if weight is None else tf.cast(weight, tf.float64)
        count = tf.reduce_sum(weights)
        expanded = tf.reshape(weights, tf.concat([tf.shape(weights), tf.ones([rank], tf.int32)], axis=0))
        mean = tf.math.divide_no_nan(tf.reduce_sum(values * expanded, axis=axes), count)
        squares = tf.reduce_sum(tf.square(values - mean) * expanded, axis=axes)
        total = self.count + count
        delta = mean - self.mean
        self.sum_of_squares.assign_add(squares + tf.square(delta) * tf.math.divide_no_nan(self.count * count, total))
        self.mean.assign_add(delta * tf.math.divide_no_nan(count, total))
        self.count.assign(total)

    def variance(self) -> tf.Tensor:
        """The variance (population), float64; 1 before two values have been seen."""
        seen = self.count > 1.0
        safe = tf.where(seen, self.count, 1.0)
        return tf.where(seen, self.sum_of_squares / safe, tf.ones_like(self.sum_of_squares))

    def normalize(
        self, tensor: tf.Tensor, clip_value: float = 10.0, center_mean: bool = True, variance_epsilon: float = 1e-8
    ) -> tf.Tensor:
        """The tensor with mean 0 and variance 1, clipped; float32 of the same shape.

        Args:
            tensor: ``[..., *shape]``.
            clip_value: Bound of the result's magnitude; 0 for none.
            center_mean: Whether the mean is subtracted.
            variance_epsilon: Added to the variance.
        """
        # Statistics are rounded to float32 once, and the values are only multiplied and added.
        scale = tf.cast(tf.math.rsqrt(self.variance() + variance_epsilon), tf.float32)
        values = tf.cast(tensor, tf.float32)
        if center_mean:
            values = values - tf.cast(self.mean, tf.float32)
        normalized = values * scale
        return tf.clip_by_value(normalized, -clip_value, clip_value) if clip_value > 0 else normalized
