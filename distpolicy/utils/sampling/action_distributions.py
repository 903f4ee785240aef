"""Log-probability and entropy of actions that are nests of independent parts."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def log_probability(distributions: Any, actions: Any, action_spec: Any) -> tf.Tensor:
    """Returns the log-probability of whole actions, summed over the parts and over each part's elements.

    Args:
        distributions: Nest of TFP distributions.
        actions: Nest of ``[..., *shape]`` like the spec.
        action_spec: Nest of specs.

    Returns:
        ``[...]``, with the outer dimensions only.
    """
    parts = zip(*(tf.nest.flatten(nest) for nest in (distributions, actions, action_spec)), strict=True)
    terms = []
    for distribution, action, spec in parts:
        action = tf.convert_to_tensor(action)
        terms.append(_summed(distribution.log_prob(action), action.shape.rank - len(spec.shape)))
    return tf.add_n(terms)


def entropy(distributions: Any, action_spec: Any, outer_rank: int | None = None) -> tf.Tensor:
    """Returns the entropy of whole actions, summed over the parts and over each part's elements.

    Args:
        distributions: Nest of TFP distributions.
        action_spec: Nest of specs.
        outer_rank: Number of outer dimensions; None to take it from the distributions' shapes.

    Returns:
        ``[...]``, with the outer dimensions only.
    """
    terms = []
    for distribution, spec in zip(tf.nest.flatten(distributions), tf.nest.flatten(action_spec), strict=True):
        shape = distribution.batch_shape.concatenate(distribution.event_shape)
        outer = shape.rank - len(spec.shape) if outer_rank is None else outer_rank
        terms.append(_summed(distribution.entropy(), outer))
    return tf.add_n(terms)


def _summed(values: tf.Tensor, outer_rank: int) -> tf.Tensor:
    return tf.reduce_sum(values, axis=list(range(outer_rank, values.shape.rank)))
