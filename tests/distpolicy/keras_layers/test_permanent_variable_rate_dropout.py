from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.keras_layers.permanent_variable_rate_dropout import PermanentVariableRateDropout

ONES = tf.ones([100, 100])


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_share_of_zeros_is_the_rate_and_the_mean_stays(jit_compile: bool | None) -> None:
    layer = PermanentVariableRateDropout(0.3, seed=1)

    def run(inputs: tf.Tensor) -> Any:
        return layer(inputs, training=True)

    function = run if jit_compile is None else tf.function(run, jit_compile=jit_compile)
    first, second = function(ONES).numpy(), function(ONES).numpy()
    assert abs(np.mean(first == 0.0) - 0.3) < 0.03
    assert abs(first.mean() - 1.0) < 0.05
    np.testing.assert_allclose(np.unique(first), [0.0, 1.0 / 0.7], rtol=1e-6)
    assert not np.array_equal(first, second)


def test_it_acts_outside_training_only_if_it_is_permanent() -> None:
    np.testing.assert_array_equal(PermanentVariableRateDropout(0.5, seed=1)(ONES), ONES)
    assert np.any(PermanentVariableRateDropout(0.5, permanent=True, seed=1)(ONES).numpy() == 0.0)
    np.testing.assert_array_equal(PermanentVariableRateDropout(0.0, permanent=True)(ONES), ONES)


def test_rate_may_change_from_call_to_call() -> None:
    rate = tf.Variable(0.0, trainable=False)
    layer = PermanentVariableRateDropout(lambda: rate, seed=1)
    np.testing.assert_array_equal(layer(ONES, training=True), ONES)
    rate.assign(0.9)
    assert abs(np.mean(layer(ONES, training=True).numpy() == 0.0) - 0.9) < 0.03


def test_seed_decides_what_is_dropped() -> None:
    def dropped(seed: int) -> np.ndarray:
        return PermanentVariableRateDropout(0.5, seed=seed)(ONES, training=True).numpy()

    np.testing.assert_array_equal(dropped(1), dropped(1))
    assert not np.array_equal(dropped(1), dropped(2))


def test_rates_outside_are_refused_and_copies_keep_the_arguments() -> None:
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match="rate"):
            PermanentVariableRateDropout(rate)
    layer = PermanentVariableRateDropout(0.4, permanent=True, seed=3)
    copied = PermanentVariableRateDropout.from_config(layer.get_config())
    assert (copied.rate, copied.permanent, copied.seed) == (0.4, True, 3)
