"""Drawing the minibatches of an update."""

from __future__ import annotations

import numpy as np

from distpolicy.errors import ConfigError


def draw_minibatches(
    seed: int,
    train_step: int,
    num_samples: int,
    num_epochs: int,
    num_minibatches: int,
    rank: int = 0,
    kind: str = "ppo",
) -> np.ndarray:
    """Draws the samples of every epoch's minibatches. An epoch uses each sample once, except for a remainder.

    They are drawn outside the compiled function: XLA sorts slowly, and a function without a seed is compiled once for
    all seeds.

    Args:
        seed: Seed of the run.
        train_step: Number of updates so far.
        num_samples: Samples of the batch, or of a replica's part of it.
        num_epochs: Passes over them.
        num_minibatches: Minibatches of a pass.
        rank: Rank of the replica; 0 for a single learner.
        kind: The algorithm's name, for errors.

    Returns:
        int32 ``[num_epochs * num_minibatches, size]``.

    Raises:
        ConfigError: If there are fewer samples than minibatches.
    """
    size = num_samples // num_minibatches
    if not size:
        raise ConfigError(
            f"{kind}.num_minibatches {num_minibatches} is more than the {num_samples} sequences of a batch; "
            f"lower it, or {kind}.sequence_length"
        )
    draw = np.random.default_rng([seed, train_step, *([rank] if rank else [])])
    orders = [draw.permutation(num_samples)[: size * num_minibatches] for _ in range(num_epochs)]
    return np.concatenate(orders).reshape(-1, size).astype(np.int32)
