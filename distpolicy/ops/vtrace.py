"""V-trace: targets and advantages for a policy other than the one that acted, as pure functions."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class VTrace(NamedTuple):
    """The estimates of V-trace, each float ``[B, T]``.

    Attributes:
        target: ``v_t``, what the critic learns.
        advantage: ``rho_t * (q_t - V_t)``, what weighs the gradient of ``log pi(a_t | x_t)``.
        temporal_difference: ``q_t - V_t``, the advantage without its ratio.
    """

    target: tf.Tensor
    advantage: tf.Tensor
    temporal_difference: tf.Tensor


def vtrace(
    log_ratio: tf.Tensor,
    reward: tf.Tensor,
    discount: tf.Tensor,
    value: tf.Tensor,
    is_boundary: tf.Tensor,
    *,
    lambda_: float = 1.0,
    clip_rho: float = 1.0,
    clip_pg_rho: float = 1.0,
    clip_c: float = 1.0,
) -> VTrace:
    """Computes V-trace targets and advantages (Espeholt et al., "IMPALA", 2018, https://arxiv.org/abs/1802.01561).

    With ``ratio_t = pi(a_t | x_t) / mu(a_t | x_t)``, ``rho_t = min(clip_rho, ratio_t)`` and
    ``c_t = lambda * min(clip_c, ratio_t)``:

    - ``delta_t = rho_t * (r_{t+1} + discount_{t+1} * V_{t+1} - V_t)``, and ``v_t = V_t + delta_t + discount_{t+1} * c_t
      * (v_{t+1} - V_{t+1})``: equation 1, in the recursive form of remark 1, with the lambda of remark 2.
    - ``q_t = r_{t+1} + discount_{t+1} * (lambda * v_{t+1} + (1 - lambda) * V_{t+1})``, and the advantage is
      ``min(clip_pg_rho, ratio_t) * (q_t - V_t)``: section 4.2. The paper has a lambda of 1 there. By another one the
      advantage of on-policy data is the generalised advantage estimate, as in rlax.

    A truncated episode is bootstrapped from the value of its last observation, since its discount is not 0. At a
    boundary (LAST to FIRST) the target is the value and the advantage 0, so that an episode does not affect the one
    before. No gradient flows through the results.

    Args:
        log_ratio: ``log pi(a_t | x_t) - log mu(a_t | x_t)`` of the whole action, float ``[B, T]``.
        reward: Reward of the transition from step t to t + 1, float ``[B, T]``.
        discount: Discount of step t + 1 times gamma, float ``[B, T]``.
        value: Values of all steps, float ``[B, T + 1]``.
        is_boundary: True where step t is LAST, or is not a transition of the task, bool ``[B, T]``.
        lambda_: Lambda, in [0, 1].
        clip_rho: Bound of the ratios in the temporal differences (rho bar); it decides which policy's value is learned.
        clip_pg_rho: Bound of the ratios in the advantages.
        clip_c: Bound of the ratios in the traces (c bar); it decides how fast.

    Returns:
        Targets and advantages, of the arguments' dtype.

    Raises:
        ValueError: If ranks or shapes do not match.
    """
    _check(log_ratio=log_ratio, reward=reward, discount=discount, value=value, is_boundary=is_boundary)
    zeros = tf.zeros_like(reward)
    v_tm1, v_t = value[:, :-1], value[:, 1:]
    ratio = tf.exp(tf.where(is_boundary, zeros, log_ratio))
    delta = tf.minimum(ratio, clip_rho) * tf.where(is_boundary, zeros, reward + discount * v_t - v_tm1)
    decay = tf.where(is_boundary, zeros, discount * lambda_ * tf.minimum(ratio, clip_c))

    def accumulate(later: tf.Tensor, step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        delta_t, decay_t = step
        return delta_t + decay_t * later

    time_major = (tf.transpose(delta), tf.transpose(decay))
    correction = tf.transpose(tf.scan(accumulate, time_major, initializer=tf.zeros_like(delta[:, 0]), reverse=True))
    later = tf.concat([correction[:, 1:], tf.zeros_like(correction[:, :1])], axis=1)
    q = reward + discount * (v_t + lambda_ * later)
    temporal_difference = tf.where(is_boundary, zeros, q - v_tm1)
    advantage = tf.minimum(ratio, clip_pg_rho) * temporal_difference
    return VTrace(*map(tf.stop_gradient, (v_tm1 + correction, advantage, temporal_difference)))


def _check(**tensors: tf.Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.shape.rank != 2:
            raise ValueError(f"{name} must have rank 2, [B, T], but has shape {tensor.shape}")
    value, reward = tensors.pop("value"), tensors["reward"]
    for name, tensor in tensors.items():
        if not tensor.shape.is_compatible_with(reward.shape):
            raise ValueError(f"{name} must have the shape of reward, {reward.shape}, but has {tensor.shape}")
    if not value[:, 1:].shape.is_compatible_with(reward.shape):
        raise ValueError(f"value must have one step more than reward {reward.shape}, but has shape {value.shape}")
