from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.distributions.draws import log_prob, sample
from distpolicy.distributions.shifted_categorical import ShiftedCategorical
from distpolicy.utils.sampling.tensor_draws import fold_rows, row_normal, row_uniform

tfd = tfp.distributions
WORD = 2**64


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


def split_mix(state: int, num: int) -> list[int]:
    """SplitMix64 as it was published: a state that goes up by the golden ratio, and its mix."""
    numbers = []
    for _ in range(num):
        state = (state + 0x9E3779B97F4A7C15) % WORD
        numbers.append(mix(state))
    return numbers


def reference_uniform(seed: np.ndarray, num: int) -> np.ndarray:
    rows = []
    for low, high in seed.astype(np.uint32).tolist():
        words = split_mix(mix(low + (high << 32)), num)
        rows.append([((word >> 41) + 0.5) / 2**23 for word in words])
    return np.array(rows).astype(np.float32)


def test_reference_gives_the_published_numbers() -> None:
    assert split_mix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


int32 = st.integers(-(2**31), 2**31 - 1)


@settings(max_examples=25)
@given(seed=st.lists(st.tuples(int32, int32), min_size=1, max_size=4))
def test_uniform_numbers_equal_a_plain_reference(seed: list[tuple[int, int]]) -> None:
    seeds = np.array(seed, np.int32)
    drawn = row_uniform(tf.constant(seeds), 5)
    assert drawn.dtype == tf.float32
    np.testing.assert_array_equal(drawn, reference_uniform(seeds, 5))


def test_ends_are_kept_out_so_that_no_impossible_action_is_drawn() -> None:
    # The seed whose first number has all of its 24 bits set.
    seed = tf.constant([[96123, 4]])
    assert reference_uniform(seed.numpy(), 1)[0, 0] == 1 - 2**-24
    assert row_uniform(seed, 1).numpy()[0, 0] < 1.0
    impossible = tfd.Categorical(logits=[[-200.0, 0.0, 0.0]])
    assert sample(impossible, seed).numpy()[0] != 0


def test_uniform_numbers_are_the_same_in_a_function_and_under_xla(row_seeds: Any) -> None:
    seeds = tf.constant(row_seeds(100, 3))
    expected = row_uniform(seeds, 3)
    for jit_compile in (False, True):
        function = tf.function(lambda seed: row_uniform(seed, 3), jit_compile=jit_compile)
        np.testing.assert_array_equal(function(seeds), expected)


@pytest.mark.parametrize("along", ["counters", "slots", "numbers"])
def test_uniform_numbers_are_uniform_and_not_correlated(along: str) -> None:
    num = 20_000
    if along == "counters":
        drawn = row_uniform(tf.constant([[step, 7] for step in range(num)]), 1)
    elif along == "slots":
        drawn = row_uniform(tf.constant([[7, slot] for slot in range(num)]), 1)
    else:
        drawn = row_uniform(tf.constant([[3, 4]]), num)
    values = np.asarray(drawn, np.float64).reshape(-1)
    assert values.min() > 0.0
    assert values.max() < 1.0
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    # The 0.9999 quantile of chi-square with nineteen degrees of freedom is 50.8.
    assert np.sum((counts - num / 20) ** 2 / (num / 20)) < 50.8
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / np.sqrt(num)


def test_normal_numbers_are_standard_normal(row_seeds: Any) -> None:
    num = 20_000
    values = row_normal(tf.constant(row_seeds(num)), 3).numpy().astype(np.float64)
    assert values.shape == (num, 3)
    assert np.all(np.abs(values.mean(axis=0)) < 4 / np.sqrt(num))
    assert np.all(np.abs(values.var(axis=0) - 1) < 4 * np.sqrt(2 / num))
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 4 / np.sqrt(num)
    # Kolmogorov-Smirnov: the largest distance to the normal's cumulative distribution; 0.9999 quantile 2.23.
    ordered = np.sort(values[:, 0])
    cumulative = tfd.Normal(0.0, 1.0).cdf(ordered.astype(np.float32)).numpy()
    assert np.abs(cumulative - (np.arange(num) + 0.5) / num).max() * np.sqrt(num) < 2.23


DISTRIBUTIONS: dict[str, Callable[[np.ndarray], tfd.Distribution]] = {
    "categorical": lambda x: tfd.Categorical(logits=x, dtype=tf.int32),
    "normal": lambda x: tfd.Normal(x[:, 0], np.exp(x[:, 1])),
    "diagonal normal": lambda x: tfd.MultivariateNormalDiag(x, np.exp(x)),
    "independent": lambda x: tfd.Independent(tfd.Normal(x, np.exp(x)), reinterpreted_batch_ndims=1),
    "transformed": lambda x: tfd.TransformedDistribution(tfd.Normal(x, np.exp(x)), tfp.bijectors.Tanh()),
    "deterministic": lambda x: tfd.Deterministic(x),
    "vector deterministic": lambda x: tfd.VectorDeterministic(x),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draw_of_a_row_depends_on_its_seed_and_parameters_only(name: str, row_seeds: Any) -> None:
    make = DISTRIBUTIONS[name]
    parameters = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    seeds = row_seeds(12)

    def draw(rows: Any) -> np.ndarray:
        distribution = make(parameters[rows])
        drawn = sample(distribution, tf.constant(seeds[rows]))
        assert drawn.dtype == distribution.dtype
        assert drawn.shape == (*distribution.batch_shape, *distribution.event_shape)
        return drawn.numpy()

    whole = draw(np.arange(12))
    order = np.random.default_rng(1).permutation(12)
    np.testing.assert_allclose(draw(order), whole[order], rtol=1e-6)
    np.testing.assert_allclose(draw(np.array([7])), whole[7:8], rtol=1e-6)
    if "deterministic" not in name:
        assert not np.array_equal(sample(make(parameters), tf.constant(seeds + 1)), whole)


def test_other_distributions_draw_from_one_seed_folded_of_all(row_seeds: Any) -> None:
    beta = tfd.Beta(tf.fill([6], 2.0), 3.0)
    seeds = tf.constant(row_seeds(6))
    drawn = sample(beta, seeds)
    np.testing.assert_array_equal(drawn, sample(beta, seeds))
    assert not np.array_equal(drawn, sample(beta, seeds + 1))
    assert fold_rows(seeds).shape == (2,)
    assert fold_rows(seeds).dtype == tf.int32
    assert not np.array_equal(fold_rows(seeds), fold_rows(seeds + 1))


def test_one_seed_for_all_is_tfp_s_own_draw() -> None:
    normal = tfd.Normal(tf.zeros([5]), 1.0)
    np.testing.assert_array_equal(sample(normal, tf.constant([1, 2])), normal.sample(seed=tf.constant([1, 2])))


@pytest.mark.parametrize("dtype", [tf.int8, tf.int32, tf.int64])
@pytest.mark.parametrize("logits_dtype", [tf.float32, tf.float64])
def test_log_probability_of_categories_equals_a_numpy_reference(dtype: tf.DType, logits_dtype: tf.DType) -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3, 5))
    values = np.random.default_rng(1).integers(0, 5, size=(4, 3))
    expected = np.log(np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True))
    expected = np.take_along_axis(expected, values[..., np.newaxis], axis=-1)[..., 0]
    categorical = tfp.distributions.Categorical(logits=tf.constant(logits, logits_dtype), dtype=dtype)
    found = log_prob(categorical, tf.constant(values, dtype))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    joint = log_prob(tfp.distributions.Independent(categorical, 1), tf.constant(values, dtype))
    np.testing.assert_allclose(joint, expected.sum(axis=-1), rtol=1e-5)
    shifted = ShiftedCategorical(logits=tf.constant(logits, logits_dtype), dtype=dtype, shift=-2)
    np.testing.assert_allclose(log_prob(shifted, tf.constant(values - 2, dtype)), expected, rtol=1e-5)
    assert sample(categorical, row_seed_tensor(4)).dtype == dtype


def row_seed_tensor(num_rows: int) -> tf.Tensor:
    return tf.constant(np.arange(2 * num_rows, dtype=np.int32).reshape(num_rows, 2))


def test_log_probability_at_a_saturated_tanh_is_that_of_the_stored_action() -> None:
    normal = tfp.distributions.Normal(tf.constant([12.0, 0.3]), tf.constant([1.0, 0.5]))
    squashed = tfp.distributions.TransformedDistribution(normal, tfp.bijectors.Tanh())
    action = sample(squashed, tf.constant([[1, 2], [3, 4]]))
    np.testing.assert_allclose(log_prob(squashed, action), squashed.log_prob(action.numpy()), rtol=1e-6)
