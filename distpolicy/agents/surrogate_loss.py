"""The clipped surrogate loss as a pure function (Schulman et al., "PPO", 2017)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.action_terms import action_entropy, action_log_probability
from distpolicy.agents.actor_critic_config import ActorCriticConfig
from distpolicy.agents.batch_statistics import MinibatchStatistics

# The metrics of a minibatch, in the order in which :func:`surrogate_loss` returns them.
METRICS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")


def surrogate_loss(
    config: ActorCriticConfig,
    distribution: Any,
    value: tf.Tensor,
    batch: dict[str, Any],
    statistics: MinibatchStatistics,
    clip_range: tf.Tensor,
    value_error: tf.Tensor | None = None,
    log_probability_bound: float | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the loss of a minibatch (equations 7 and 9), as the sum over some of its samples.

    Args:
        config: The settings.
        distribution: Nest of distributions over the actions.
        value: float32 ``[n, ...]``.
        batch: The samples: ``action``, ``log_probability`` (by the policy that the new one stays near), ``advantage``,
            ``target`` and ``mask``, ``[n, ...]``.
        statistics: Of the whole minibatch, scalars.
        clip_range: float32 scalar.
        value_error: float32 ``[n, ...]``, the critic's loss of each sample; None for the squared difference.
        log_probability_bound: Bound of the magnitude of the new log-probabilities; None for no bound.

    Returns:
        A scalar, and float32 ``[5]`` of :data:`METRICS`; over all samples of the minibatch they add up to means.
    """
    mask = batch["mask"]

    def mean(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values * mask) / statistics.count

    advantage = (batch["advantage"] - statistics.center) * statistics.scale
    log_probability = action_log_probability(distribution, batch["action"])
    if log_probability_bound is not None:
        log_probability = tf.clip_by_value(log_probability, -log_probability_bound, log_probability_bound)
    log_ratio = tf.where(mask > 0.0, log_probability - batch["log_probability"], 0.0)
    ratio = tf.exp(log_ratio)
    clipped = tf.clip_by_value(ratio, 1.0 - clip_range, 1.0 + clip_range)
    policy_loss = -mean(tf.minimum(ratio * advantage, clipped * advantage))
    value_loss = mean(tf.square(value - batch["target"]) if value_error is None else value_error)
    entropy = mean(action_entropy(distribution))
    loss = policy_loss + config.value_loss_weight * value_loss - config.entropy_weight * entropy
    # Schulman's estimator of the KL divergence that is never negative.
    approx_kl = mean(ratio - 1.0 - log_ratio)
    clip_fraction = mean(tf.cast(tf.abs(ratio - 1.0) > clip_range, tf.float32))
    return loss, tf.stack([policy_loss, value_loss, entropy, approx_kl, clip_fraction])
