"""aggregate_losses: one loss of the losses of a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf


class AggregatedLosses(NamedTuple):
    """Scalars to minimise; None where nothing was given.

    Attributes:
        total_loss: The sum of the others.
        weighted: The mean of the losses of the examples, each times its weight.
        regularization: The regularisation losses, divided by the number of replicas.
    """

    total_loss: Any
    weighted: Any
    regularization: Any


def aggregate_losses(
    per_example_loss: Any = None,
    sample_weight: Any = None,
    global_batch_size: Any = None,
    regularization_loss: Any = None,
) -> AggregatedLosses:
    """Returns the loss of a batch.

    Args:
        per_example_loss: Float ``[B, ...]``. Further dimensions are averaged.
        sample_weight: A number, or float ``[B]`` or ``[B, T]``: what each loss counts. Where it is 0, the loss may be
            NaN.
        global_batch_size: What the sum over the batch is divided by; None for B times the number of replicas.
        regularization_loss: A scalar, or a list of them.

    Raises:
        ValueError: If there is one loss for the whole batch.
    """
    total: Any = None
    weighted: Any = None
    regularization: Any = None
    if per_example_loss is not None:
        loss = tf.convert_to_tensor(per_example_loss)
        if loss.shape.rank == 0:
            raise ValueError(
                "per_example_loss must have a batch dimension; use a loss of each example, such as "
                "tf.math.squared_difference"
            )
        if sample_weight is not None:
            weight = tf.cast(sample_weight, loss.dtype)
            if weight.shape.rank:
                while weight.shape.rank < loss.shape.rank:
                    weight = weight[..., tf.newaxis]
            loss = tf.math.multiply_no_nan(loss, weight)
        loss = tf.reduce_mean(loss, axis=list(range(1, loss.shape.rank)))
        total = weighted = tf.nn.compute_average_loss(loss, global_batch_size=global_batch_size)
    if regularization_loss is not None:
        regularization = tf.nn.scale_regularization_loss(regularization_loss)
        total = regularization if total is None else total + regularization
    return AggregatedLosses(total, weighted, regularization)
