"""Draws from distributions with a seed for each row, and log-probabilities of draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.gumbel_softmax import GumbelSoftmax
from distpolicy.distributions.shifted_categorical import ShiftedCategorical
from distpolicy.utils.sampling.tensor_draws import fold_rows, row_normal, row_uniform


def sample(distribution: tfp.distributions.Distribution, seed: Any = None) -> tf.Tensor:
    """Draws from a distribution.

    Categorical, normal and deterministic distributions, and transformed or independent ones over these, draw each row
    from its own seed. Other distributions combine the seeds of all rows into one.

    Args:
        distribution: Any TFP distribution.
        seed: None, an int, a stateless seed int32 ``[2]``, or one for each row of a distribution with batch shape
            ``[B, ...]``, int32 ``[B, 2]``.

    Returns:
        A draw, ``[*batch_shape, *event_shape]``.
    """
    if isinstance(distribution, GumbelSoftmax):
        rows = tf.is_tensor(seed) and seed.shape.rank == 2
        return distribution.convert_to_one_hot(distribution.sample(seed=fold_rows(seed) if rows else seed))
    if not tf.is_tensor(seed) or seed.shape.rank != 2:
        return distribution.sample(seed=seed)
    drawn = _row_sample(distribution, seed)
    if drawn is None:
        return distribution.sample(seed=fold_rows(seed))
    return drawn


def log_prob(distribution: tfp.distributions.Distribution, value: tf.Tensor) -> tf.Tensor:
    """Returns the log-probability of a value.

    It is computed here for categorical distributions, since TFP's operation does not support int8 or every engine.

    Args:
        distribution: Any TFP distribution.
        value: ``[*batch_shape, *event_shape]``.
    """
    if isinstance(distribution, ShiftedCategorical):
        return log_prob(distribution.distribution, value - distribution.shift)
    if isinstance(distribution, tfp.distributions.Categorical):
        log_probabilities = tf.nn.log_softmax(distribution.logits_parameter())
        num_categories = log_probabilities.shape[-1]
        chosen = tf.one_hot(tf.cast(value, tf.int32), num_categories, on_value=True, off_value=False, dtype=tf.bool)
        return tf.reduce_sum(tf.where(chosen, log_probabilities, tf.zeros_like(log_probabilities)), axis=-1)
    if isinstance(distribution, tfp.distributions.Independent):
        num_dims = int(tf.get_static_value(distribution.reinterpreted_batch_ndims))
        each = log_prob(distribution.distribution, value)
        return tf.reduce_sum(each, axis=list(range(-num_dims, 0)))
    # TFP's bijectors remember the input for the very tensor that was drawn. At a saturated tanh this leads to another
    # density than a learner computes for the stored action, so a new tensor is passed.
    return distribution.log_prob(tf.identity(value))


def _row_sample(distribution: tfp.distributions.Distribution, seed: tf.Tensor) -> tf.Tensor | None:
    tfd = tfp.distributions
    if isinstance(distribution, tfd.Categorical):
        logits = distribution.logits_parameter()
        uniform = _row_shaped(row_uniform, seed, logits)
        drawn = tf.argmax(logits - tf.cast(tf.math.log(-tf.math.log(uniform)), logits.dtype), axis=-1)
        return tf.cast(drawn, distribution.dtype)
    if isinstance(distribution, tfd.Normal | tfd.MultivariateNormalDiag):
        loc, scale = distribution.mean(), distribution.stddev()
        return loc + scale * tf.cast(_row_shaped(row_normal, seed, loc), loc.dtype)
    if isinstance(distribution, tfd.Deterministic | tfd.VectorDeterministic):
        return distribution.mean()
    if isinstance(distribution, tfd.Independent):
        return _row_sample(distribution.distribution, seed)
    if isinstance(distribution, tfd.TransformedDistribution):
        base = _row_sample(distribution.distribution, seed)
        return None if base is None else distribution.bijector.forward(base)
    return None


def _row_shaped(draw: Any, seed: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Draws numbers with the shape of ``like``, ``[B, ...]``, with a seed for each row."""
    num = int(np.prod(like.shape[1:]))
    return tf.reshape(draw(seed, num), tf.shape(like))
