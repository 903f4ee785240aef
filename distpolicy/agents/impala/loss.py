"""The loss of IMPALA as a pure function (Espeholt et al., 2018, section 4.2)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.action_terms import action_entropy, action_log_probability
from distpolicy.agents.batch_statistics import MinibatchStatistics
from distpolicy.agents.impala.config import ImpalaConfig

# The metrics of a minibatch, in the order in which :func:`policy_gradient_loss` returns them.
METRICS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")


def policy_gradient_loss(
    config: ImpalaConfig, distribution: Any, value: tf.Tensor, batch: dict[str, Any], statistics: MinibatchStatistics
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the loss of a minibatch, as the sum over some of its samples.

    Its gradient is that of ``-rho * (q - V) * log pi``, of half the squared error of the critic if the value loss has a
    weight of 0.5, and of the entropy. The ratio rho is of the policy as it is now: that moves from one minibatch to
    the next.

    Args:
        config: The settings.
        distribution: Nest of distributions over the actions.
        value: float32 ``[n, ...]``.
        batch: The samples: ``action``, ``log_probability``, ``advantage`` (``q - V``), ``target`` and ``mask``, ``[n,
            ...]``.
        statistics: Of the whole minibatch, scalars.

    Returns:
        A scalar, and float32 ``[5]`` of :data:`METRICS`; over all samples of the minibatch they add up to means.
    """
    mask = batch["mask"]

    def mean(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values * mask) / statistics.count

    counts = mask > 0.0
    advantage = (batch["advantage"] - statistics.center) * statistics.scale
    log_probability = tf.where(counts, action_log_probability(distribution, batch["action"]), 0.0)
    log_ratio = tf.stop_gradient(tf.where(counts, log_probability - batch["log_probability"], 0.0))
    ratio = tf.exp(log_ratio)
    policy_loss = -mean(tf.minimum(ratio, config.clip_pg_rho) * advantage * log_probability)
    value_loss = mean(tf.square(value - batch["target"]))
    entropy = mean(action_entropy(distribution))
    loss = policy_loss + config.value_loss_weight * value_loss - config.entropy_weight * entropy
    # Schulman's estimator of the KL divergence that is never negative.
    approx_kl = mean(ratio - 1.0 - log_ratio)
    clip_fraction = mean(tf.cast(ratio > config.clip_pg_rho, tf.float32))
    return loss, tf.stack([policy_loss, value_loss, entropy, approx_kl, clip_fraction])
