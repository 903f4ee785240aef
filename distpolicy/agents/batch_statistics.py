"""Statistics of a batch that may be divided among several learners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer

# Returns the sum of a tensor over all learners; with one learner, the tensor itself.
AllSum = Callable[[tf.Tensor], tf.Tensor]


class MinibatchStatistics(NamedTuple):
    """Statistics of each minibatch, float32 ``[num_minibatches]``.

    Attributes:
        count: Number of steps that count, at least 1.
        center: Value to subtract from advantages.
        scale: Factor to multiply them by afterwards.
    """

    count: tf.Tensor
    center: tf.Tensor
    scale: tf.Tensor


def minibatch_statistics(
    advantage: tf.Tensor, mask: tf.Tensor, minibatches: tf.Tensor, normalize: bool, all_sum: AllSum
) -> MinibatchStatistics:
    """Returns the statistics of every minibatch, over all learners.

    Args:
        advantage: float32 ``[N, ...]``.
        mask: Like it: what each step counts; 0 where it does not count.
        minibatches: int32 ``[num_minibatches, size]``: the samples of each.
        normalize: Whether advantages get mean 0 and deviation 1.
        all_sum: See :data:`AllSum`.
    """
    counted = tf.cast(tf.not_equal(mask, 0.0), tf.float32)
    weight, values = tf.gather(counted, minibatches), tf.gather(advantage, minibatches)
    axes = list(range(1, weight.shape.rank))
    sums = all_sum(tf.stack([tf.reduce_sum(weight, axes), tf.reduce_sum(values * weight, axes)]))
    count = tf.maximum(sums[0], 1.0)
    if not normalize:
        return MinibatchStatistics(count, tf.zeros_like(count), tf.ones_like(count))
    center = sums[1] / count
    deviation = values - tf.reshape(center, [-1] + [1] * len(axes))
    variance = all_sum(tf.reduce_sum(tf.square(deviation) * weight, axes)) / count
    return MinibatchStatistics(count, center, tf.math.rsqrt(variance + 1e-8))


def explained_variance(target: tf.Tensor, value: tf.Tensor, mask: tf.Tensor, all_sum: AllSum) -> tf.Tensor:
    """Returns the share of the targets' variance that the values explain.

    Args:
        target: float32 ``[B, T]``.
        value: Like it.
        mask: Like it: 1 where a step counts, else 0.
        all_sum: See :data:`AllSum`.
    """
    both = tf.stack([target - value, target])
    sums = all_sum(tf.concat([[tf.reduce_sum(mask)], tf.reduce_sum(both * mask, [1, 2])], axis=0))
    count = tf.maximum(sums[0], 1.0)
    center = tf.reshape(sums[1:] / count, [2, 1, 1])
    residual, total = tf.unstack(all_sum(tf.reduce_sum(tf.square(both - center) * mask, [1, 2])) / count)
    return 1.0 - residual / (total + 1e-8)


def update_normalizer(
    normalizer: StreamingTensorNormalizer,
    values: Any,
    weights: tf.Tensor | None,
    scratch: StreamingTensorNormalizer | None,
    all_sum: AllSum,
) -> None:
    """Updates a normaliser with the values of all learners, as if it saw them all.

    Args:
        normalizer: The normaliser to update.
        values: Nest of tensors: this learner's values.
        weights: As in ``normalizer.update``.
        scratch: A normaliser of the same specs, to work with; None where there is one learner.
        all_sum: See :data:`AllSum`.
    """
    if scratch is None:
        normalizer.update(values, weights=weights)
        return
    scratch.reset()
    scratch.update(values, weights=weights)
    nests = (scratch.count, scratch.mean, scratch.sum_of_squares)
    for count, mean, sum_of_squares in zip(*(tf.nest.flatten(nest) for nest in nests), strict=True):
        total = all_sum(tf.identity(count))
        center = tf.math.divide_no_nan(all_sum(count * mean), total)
        sum_of_squares.assign(all_sum(sum_of_squares + count * tf.square(mean - center)))
        mean.assign(center)
        count.assign(total)
    normalizer.merge(scratch)
