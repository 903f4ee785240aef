"""Log-probability and entropy of whole actions: sums over the leaves of their nests."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.distributions.draws import log_prob
from distpolicy.utils.nests.array_nest import flatten


def action_log_probability(distribution: Any, action: Any) -> tf.Tensor:
    """Returns the log-probability of whole actions, float32 of the outer dimensions.

    Args:
        distribution: Nest of distributions.
        action: Nest of actions like it.
    """
    parts = zip(flatten(distribution), flatten(action), strict=True)
    return sum_of_leaves([log_prob(item, drawn) for item, drawn in parts])


def action_entropy(distribution: Any) -> tf.Tensor:
    """Returns the entropy of whole actions, float32 of the outer dimensions, from a nest of distributions."""
    return sum_of_leaves([item.entropy() for item in flatten(distribution)])


def sum_of_leaves(nest: Any) -> tf.Tensor:
    """Returns the sum of a nest's tensors, float32."""
    return tf.add_n([tf.cast(part, tf.float32) for part in flatten(nest)])
