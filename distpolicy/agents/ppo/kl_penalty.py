"""KLPenalty: the penalty of PPO's other form (Schulman et al., 2017, section 4)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.utils.nests.array_nest import flatten


class KLPenalty(tf.Module):
    """Penalises the divergence of the policy from the one that acted.

    Args:
        initial_beta: Weight of the divergence at first; 0 for none.
        target: The divergence that the weight is adapted to.
        tolerance: Share of the target by which the divergence may differ before the weight changes.
        cutoff_factor: The divergence above ``cutoff_factor * target`` is penalised by its square; 0 for none.
        cutoff_coef: Weight of the square.
    """

    def __init__(
        self, initial_beta: float, target: float, tolerance: float, cutoff_factor: float | None, cutoff_coef: float
    ) -> None:
        super().__init__(name="kl_penalty")
        self.is_adaptive = initial_beta > 0.0
        self._target, self._tolerance = target, tolerance
        self._cutoff_factor, self._cutoff_coef = cutoff_factor or 0.0, cutoff_coef
        self.beta = tf.Variable(initial_beta, trainable=False, dtype=tf.float32, name="beta")

    @property
    def is_used(self) -> bool:
        """Whether there is a penalty. As in TF-Agents, there is none without a beta."""
        return self.is_adaptive

    def __call__(self, kl: tf.Tensor) -> tf.Tensor:
        """Returns the penalty of a mean divergence, float32 scalars both."""
        penalty = self.beta * kl
        if self._cutoff_factor > 0.0:
            penalty += self._cutoff_coef * tf.square(tf.maximum(kl - self._cutoff_factor * self._target, 0.0))
        return penalty

    def adapt(self, kl: tf.Tensor) -> None:
        """Multiplies or divides beta by 1.5 if the mean divergence, float32 scalar, is off its target."""
        is_above, is_not_below = (kl > self._target * (1.0 + sign * self._tolerance) for sign in (1.0, -1.0))
        factor = tf.where(is_above, 1.5, tf.where(is_not_below, 1.0, 1.0 / 1.5))
        self.beta.assign(tf.clip_by_value(self.beta * factor, 1e-15, 1e17))


def divergence(left: Any, right: Any, outer_rank: int) -> tf.Tensor:
    """Returns the Kullback-Leibler divergence of whole actions, float32 of the outer dimensions.

    Args:
        left: Nest of distributions.
        right: Nest of distributions like it.
        outer_rank: The number of outer dimensions.
    """
    parts = [one.kl_divergence(other) for one, other in zip(flatten(left), flatten(right), strict=True)]
    sums = [tf.reduce_sum(part, axis=list(range(outer_rank, part.shape.rank))) for part in parts]
    return tf.add_n([tf.cast(part, tf.float32) for part in sums])
