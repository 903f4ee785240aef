"""update_targets: moves the variables of target networks, inside compiled updates."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from distpolicy.utils.variables.blending import blend


def update_targets(
    sources: Sequence[tf.Variable], targets: Sequence[tf.Variable], step: tf.Tensor, tau: float, period: int
) -> None:
    """Moves target variables towards their sources, every ``period`` steps, by :func:`blend`.

    Statistics of layers, such as BatchNormalization's, counters and all else that is not trained are copied. The source
    says what is trained: some programs freeze their target networks.

    Args:
        sources: The variables.
        targets: Their targets, in the same order.
        step: int64 scalar: updates so far, with this one if it counts.
        tau: Share of the trained sources, in [0, 1].
        period: Steps between two updates.
    """

    def move() -> tf.Tensor:
        blend(targets, sources, [source.trainable for source in sources], tau, tau_non_trainable=1.0)
        return tf.constant(True)

    if period == 1:
        move()
    else:
        tf.cond(tf.equal(step % period, 0), move, lambda: tf.constant(False))
