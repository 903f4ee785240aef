"""The loss of PPO as a pure function (Schulman et al., 2017)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.batch_statistics import MinibatchStatistics
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.distributions.draws import log_prob
from distpolicy.utils.nests.array_nest import flatten

# The metrics of a minibatch, in the order in which :func:`surrogate_loss` returns them.
METRICS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")


def surrogate_loss(
    config: PPOConfig,
    distribution: Any,
    value: tf.Tensor,
    batch: dict[str, Any],
    statistics: MinibatchStatistics,
    clip_range: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the loss of a minibatch (equations 7 and 9), as the sum over some of its samples.

    Args:
        config: The settings.
        distribution: Nest of distributions over the actions.
        value: float32 ``[n, ...]``.
        batch: The samples: ``action``, ``log_probability``, ``advantage``, ``target`` and ``mask``, ``[n, ...]``.
        statistics: Of the whole minibatch, scalars.
        clip_range: float32 scalar.

    Returns:
        A scalar, and float32 ``[5]`` of :data:`METRICS`; over all samples of the minibatch they add up to means.
    """
    mask = batch["mask"]

    def mean(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values * mask) / statistics.count

    advantage = (batch["advantage"] - statistics.center) * statistics.scale
    log_ratio = tf.where(mask > 0.0, _log_probability(distribution, batch["action"]) - batch["log_probability"], 0.0)
    ratio = tf.exp(log_ratio)
    clipped = tf.clip_by_value(ratio, 1.0 - clip_range, 1.0 + clip_range)
    policy_loss = -mean(tf.minimum(ratio * advantage, clipped * advantage))
    value_loss = mean(tf.square(value - batch["target"]))
    entropy = mean(sum_of_leaves([item.entropy() for item in flatten(distribution)]))
    loss = policy_loss + config.value_loss_weight * value_loss - config.entropy_weight * entropy
    # Schulman's estimator of the KL divergence that is never negative.
    approx_kl = mean(ratio - 1.0 - log_ratio)
    clip_fraction = mean(tf.cast(tf.abs(ratio - 1.0) > clip_range, tf.float32))
    return loss, tf.stack([policy_loss, value_loss, entropy, approx_kl, clip_fraction])


def _log_probability(distribution: Any, action: Any) -> tf.Tensor:
    """Returns the log-probability of a whole action: the sum over the leaves of its nest."""
    parts = zip(flatten(distribution), flatten(action), strict=True)
    return sum_of_leaves([log_prob(item, drawn) for item, drawn in parts])


def sum_of_leaves(nest: Any) -> tf.Tensor:
    """Returns the sum of a nest's tensors, float32."""
    return tf.add_n([tf.cast(part, tf.float32) for part in flatten(nest)])
