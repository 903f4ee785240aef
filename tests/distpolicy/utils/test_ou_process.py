from __future__ import annotations

import numpy as np
import tensorflow as tf

from distpolicy.utils.common import OUProcess, ornstein_uhlenbeck_process


def test_without_noise_it_decays() -> None:
    process = OUProcess(tf.constant([4.0, -8.0]), damping=0.5, stddev=0.0)
    np.testing.assert_array_equal([process().numpy() for _ in range(3)], [[2, -4], [1, -2], [0.5, -1]])


def test_stationary_deviation_is_that_of_the_process() -> None:
    process = OUProcess(tf.zeros([4000]), damping=0.5, stddev=0.3, seed=1)
    step = tf.function(process)
    for _ in range(20):
        value = step()
    # Of x' = a x + s N: s / sqrt(1 - a²).
    np.testing.assert_allclose(np.std(value), 0.3 / np.sqrt(1 - 0.25), rtol=0.05)
    # Each element has noise of its own.
    assert len(np.unique(value)) > 3900
    assert step.experimental_get_tracing_count() == 1


def test_same_seed_gives_the_same_path() -> None:
    one, same, other = (ornstein_uhlenbeck_process(tf.zeros([3]), seed=seed) for seed in (1, 1, 2))
    paths = [np.array([process().numpy() for _ in range(4)]) for process in (one, same, other)]
    np.testing.assert_array_equal(paths[0], paths[1])
    assert not np.any(paths[0] == paths[2])
    assert len(np.unique(paths[0])) == 12
    assert not np.array_equal(OUProcess(tf.zeros([3]))(), OUProcess(tf.zeros([3]))())
    assert one.trainable_variables == ()
