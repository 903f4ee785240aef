"""blend: the rule by which variables move towards others, in policy updates and in the updates of target networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

Share: TypeAlias = float | tf.Tensor


def blend(
    targets: Sequence[tf.Variable],
    values: Sequence[tf.Tensor | tf.Variable],
    is_trainable: Sequence[bool],
    tau: Share,
    tau_non_trainable: Share,
) -> None:
    """Moves variables towards values: ``target += tau (value - target)``.

    A tau of exactly 1 copies, even over a NaN, and a tau of exactly 0 changes nothing. Counters and seeds cannot be
    averaged: integers and bools are copied unless their tau is 0. A tau that is a number is read while a function is
    traced, so that a copy is an assignment and nothing else.

    Args:
        targets: The variables to change.
        values: A tensor or variable of the same shape and dtype for each.
        is_trainable: Which tau applies to each.
        tau: Share of the values of trainable variables, in [0, 1]: a number, or a scalar tensor.
        tau_non_trainable: The same for the other variables.
    """
    for target, value, is_trained in zip(targets, values, is_trainable, strict=True):
        target.assign(_blended(target, value, tau if is_trained else tau_non_trainable))


def _blended(target: tf.Variable, value: tf.Tensor | tf.Variable, share: Share) -> tf.Tensor | tf.Variable:
    is_averaged = target.dtype.is_floating or target.dtype.is_complex
    if tf.is_tensor(share):
        mixed = target + tf.cast(share, target.dtype) * (value - target) if is_averaged else value
        return tf.where(share >= 1.0, value, tf.where(share <= 0.0, target, mixed))
    if share <= 0.0:
        return target
    return target + share * (value - target) if is_averaged and share < 1.0 else value
