from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.utils.tensor_normalizer import (
    EMATensorNormalizer,
    StreamingTensorNormalizer,
    TensorNormalizer,
    kahan_summation,
    parallel_variance_calculation,
)
from distpolicy.utils.variables.module_variables import named_variables

DATA = np.random.default_rng(0).normal([1000.0, -3.0], [0.1, 5.0], size=(40, 2))
KEPT = np.random.default_rng(1).random(40) < 0.6


def normalizer(shape: tuple[int, ...] = (2,)) -> StreamingTensorNormalizer:
    return StreamingTensorNormalizer(ArraySpec(shape, np.float32), clip_value=10.0, variance_epsilon=1e-8)


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(1, 39), max_size=6, unique=True), masked=st.booleans())
def test_any_split_into_batches_gives_the_statistics_of_the_whole(cuts: list[int], masked: bool) -> None:
    made = normalizer()
    for rows in np.split(np.arange(40), sorted(cuts)):
        made.update(tf.constant(DATA[rows]), weights=KEPT[rows].astype(np.float32) if masked else None)
    seen = DATA[KEPT] if masked else DATA
    assert made.count.numpy() == len(seen)
    np.testing.assert_allclose(made.mean, seen.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(made.variance(), seen.var(axis=0), rtol=1e-9)


def test_masked_values_count_for_nothing() -> None:
    made = normalizer()
    made.update(tf.constant(DATA))
    before = [variable.numpy() for variable in made.variables]
    made.update(tf.constant(DATA * 1e6), weights=tf.zeros([40]))
    for variable, value in zip(made.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("outer", [(40,), (8, 5), (2, 4, 5)])
def test_all_outer_dimensions_are_batches(outer: tuple[int, ...]) -> None:
    made, scalar = normalizer(), normalizer(())
    made.update(tf.constant(DATA.reshape(*outer, 2)), weights=tf.constant(KEPT.reshape(outer)))
    np.testing.assert_allclose(made.mean, DATA[KEPT].mean(axis=0), rtol=1e-12)
    scalar.update(tf.constant(DATA[:, 1].reshape(outer)))
    np.testing.assert_allclose(scalar.variance(), DATA[:, 1].var(), rtol=1e-12)
    single = normalizer()
    single.update(tf.constant(DATA[0]))
    np.testing.assert_array_equal(single.mean, DATA[0])


def test_values_stay_as_they_are_before_the_first_update() -> None:
    values = np.array([[0.5, -2.0], [9.0, 3.0]], np.float32)
    made = normalizer()
    np.testing.assert_array_equal(made.normalize(tf.constant(values)), values)
    np.testing.assert_array_equal(made.variance(), [1.0, 1.0])
    made.update(tf.constant([[1.0, 1.0]]))
    # One value has no spread.
    np.testing.assert_array_equal(made.variance(), [1.0, 1.0])


def test_normalised_values_have_mean_0_and_variance_1() -> None:
    made = normalizer()
    made.update(tf.constant(DATA))
    normalized = made.normalize(tf.constant(DATA)).numpy()
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized, (DATA - DATA.mean(axis=0)) / DATA.std(axis=0), rtol=1e-3, atol=2e-3)
    uncentred = made.normalize(tf.constant(DATA), clip_value=0.0, center_mean=False)
    np.testing.assert_allclose(uncentred, DATA / DATA.std(axis=0), rtol=1e-3)


def test_results_are_clipped_unless_the_bound_is_zero() -> None:
    made = normalizer(())
    made.update(tf.constant([-1.0, 1.0]))
    values = tf.constant([-100.0, 3.0, 100.0])
    np.testing.assert_allclose(made.normalize(values), [-10.0, 3.0, 10.0], rtol=1e-5)
    np.testing.assert_allclose(made.normalize(values, clip_value=5.0), [-5.0, 3.0, 5.0], rtol=1e-5)
    np.testing.assert_allclose(made.normalize(values, clip_value=0.0), [-100.0, 3.0, 100.0], rtol=1e-5)


def test_bytes_are_normalised_too() -> None:
    made = StreamingTensorNormalizer(ArraySpec((2,), np.uint8), variance_epsilon=1e-8)
    values = np.array([[0, 255], [10, 250]], np.uint8)
    made.update(tf.constant(values))
    np.testing.assert_allclose(made.mean, [5.0, 252.5])
    np.testing.assert_allclose(made.normalize(tf.constant(values)), [[-1, 1], [1, -1]], rtol=1e-5)


def test_statistics_are_not_trainable() -> None:
    assert len(normalizer().variables) == 3
    assert normalizer().trainable_variables == ()


def test_defaults_are_those_of_tf_agents() -> None:
    made = StreamingTensorNormalizer(ArraySpec((), np.float32))
    made.update(tf.constant([1.0, 3.0]))
    np.testing.assert_allclose(made.normalize(tf.constant([3.0, 100.0])), [1 / np.sqrt(1.001), 5.0], rtol=1e-6)
    assert made.name == "normalize_tensor"


def test_values_stay_before_the_first_update_whatever_the_epsilon() -> None:
    made = StreamingTensorNormalizer(ArraySpec((), np.float32), variance_epsilon=0.5)
    np.testing.assert_array_equal(made.normalize(tf.constant([3.0, -7.0])), [3.0, -5.0])


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(1, 39), min_size=1, max_size=4, unique=True), empty=st.booleans())
def test_merged_statistics_of_workers_are_those_of_one_pass(cuts: list[int], empty: bool) -> None:
    workers = [normalizer() for _ in range(len(cuts) + 1)]
    for worker, rows in zip(workers, np.split(np.arange(40), sorted(cuts)), strict=True):
        worker.update(tf.constant(DATA[rows]))
    whole = normalizer()
    for worker in [*workers, *([normalizer()] if empty else [])]:
        whole.merge(worker)
    assert whole.count.numpy() == 40
    np.testing.assert_allclose(whole.mean, DATA.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(whole.variance(), DATA.var(axis=0), rtol=1e-9)


def test_merging_leaves_the_other_as_it_was() -> None:
    one, other = normalizer(), normalizer()
    one.update(tf.constant(DATA[:7]))
    other.update(tf.constant(DATA[7:]))
    before = [variable.numpy() for variable in other.variables]
    one.merge(other)
    for variable, value in zip(other.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize(
    "spec", [ArraySpec((3,), np.float32), {"a": ArraySpec((2,), np.float32)}], ids=["shape", "nest"]
)
def test_statistics_of_other_specs_are_not_merged(spec: Any) -> None:
    made = normalizer()
    with pytest.raises(SpecMismatchError, match="normalize_tensor"):
        made.merge(StreamingTensorNormalizer(spec))
    assert made.count.numpy() == 0


NEST = {"speed": TensorSpec((2,), tf.float64), "places": (TensorSpec((), tf.int32), TensorSpec((), tf.float16))}


@pytest.mark.parametrize("kind", [StreamingTensorNormalizer, EMATensorNormalizer])
def test_every_leaf_of_a_nest_has_its_own_statistics(kind: Any) -> None:
    made = kind(NEST)
    speed, place = DATA, np.arange(40, dtype=np.int32)
    batch = {"speed": tf.constant(speed), "places": (tf.constant(place), tf.constant(place % 3, tf.float16))}
    made.update(batch)
    single = kind(TensorSpec((2,), tf.float64))
    single.update(tf.constant(speed))
    result = made.normalize(batch)
    np.testing.assert_array_equal(result["speed"], single.normalize(tf.constant(speed)))
    # Integers must not be cut off: they become floats; floats keep their dtype.
    assert [leaf.dtype for leaf in tf.nest.flatten(result)] == [tf.float32, tf.float16, tf.float64]
    assert type(result) is dict
    assert type(made.tensor_spec) is dict
    if kind is StreamingTensorNormalizer:
        np.testing.assert_allclose(
            result["places"][0], (place - place.mean()) / np.sqrt(place.var() + 1e-3), rtol=1e-5, atol=1e-5
        )
        assert [count.numpy() for count in tf.nest.flatten(made.count)] == [40, 40, 40]


def test_another_nest_is_refused() -> None:
    made = StreamingTensorNormalizer(NEST)
    for call in (made.update, made.normalize):
        with pytest.raises(ValueError, match=r"differs from its spec.*'speed'"):
            call({"places": (tf.zeros([2], tf.int32), tf.zeros([2], tf.float16))})


def test_outer_dimensions_that_are_not_the_tensor_s_are_refused() -> None:
    made = normalizer()
    made.update(tf.zeros([4, 5, 2]), (0, 1))
    made.update(tf.zeros([4, 5, 2]), outer_dims=[0, 1])
    made.update(tf.zeros([4, 5, 2]))
    assert made.count.numpy() == 60
    for wrong in ((0, 1), tf.ones([4]), (1,)):
        with pytest.raises(ValueError, match="outer_dims"):
            made.update(tf.zeros([4, 2]), wrong)
    assert made.count.numpy() == 60


def test_moving_averages_equal_a_numpy_reference() -> None:
    made = EMATensorNormalizer(ArraySpec((2,), np.float32), norm_update_rate=0.25)
    mean, variance = np.zeros(2), np.ones(2)
    for rows in np.split(DATA, 4):
        made.update(tf.constant(rows))
        variance = 0.75 * variance + 0.25 * np.mean((rows - mean) ** 2, axis=0)
        mean = 0.75 * mean + 0.25 * rows.mean(axis=0)
        np.testing.assert_allclose(made.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(made.variance(), variance, rtol=1e-12)
    normalized = made.normalize(tf.constant(DATA), clip_value=0.0)
    np.testing.assert_allclose(normalized, (DATA - mean) / np.sqrt(variance + 1e-3), rtol=1e-4, atol=1e-4)


def test_moving_averages_begin_at_0_and_1_and_leave_out_what_is_masked() -> None:
    made, reference = (EMATensorNormalizer(ArraySpec((2,), np.float32), norm_update_rate=0.25) for _ in range(2))
    np.testing.assert_allclose(made.normalize(tf.constant([[1.0, 9.0]])), [[1 / np.sqrt(1.001), 5.0]], rtol=1e-6)
    made.update(tf.constant(DATA), weights=KEPT)
    reference.update(tf.constant(DATA[KEPT]))
    np.testing.assert_allclose(made.mean, reference.mean, rtol=1e-12)
    np.testing.assert_allclose(made.variance(), reference.variance(), rtol=1e-12)
    made.update(tf.constant(DATA), weights=np.zeros(40))
    np.testing.assert_allclose(made.mean, reference.mean, rtol=1e-12)


@pytest.mark.parametrize("kind", [StreamingTensorNormalizer, EMATensorNormalizer])
def test_copy_has_variables_of_its_own_and_reset_forgets(kind: Any) -> None:
    made = kind({"a": ArraySpec((), np.float32)}, scope="a/b", clip_value=3.0, variance_epsilon=0.1)
    fresh = [variable.numpy() for variable in made.variables]
    made.update({"a": tf.constant([1.0, 2.0])})
    copied = made.copy()
    assert isinstance(copied, TensorNormalizer)
    value = {"a": tf.constant([-4.0, 50.0])}
    np.testing.assert_array_equal(copied.normalize(value)["a"], made.normalize(value)["a"])
    made.reset()
    np.testing.assert_array_equal([variable.numpy() for variable in made.variables], fresh)
    assert not np.array_equal([variable.numpy() for variable in copied.variables], fresh)


def test_statistics_are_updated_in_a_compiled_function() -> None:
    made, reference = normalizer(), normalizer()
    update = tf.function(lambda batch: (made.update(batch), made.normalize(batch))[1], jit_compile=True)
    reference.update(tf.constant(DATA))
    compiled = update(tf.constant(DATA))
    np.testing.assert_allclose(compiled, reference.normalize(tf.constant(DATA)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(made.mean, reference.mean, rtol=1e-12)


@pytest.mark.parametrize("kind", [StreamingTensorNormalizer, EMATensorNormalizer])
@pytest.mark.parametrize("spec", [TensorSpec((2,), tf.float64), {"a": TensorSpec((2,), tf.float64), "b": ()}], ids=str)
def test_statistics_are_saved_with_the_module(kind: Any, spec: Any, tmp_path: Path) -> None:
    def nest(values: Any) -> Any:
        values = tf.convert_to_tensor(values)
        return values if isinstance(spec, TensorSpec) else {"a": values, "b": ()}

    module, other = tf.Module(), tf.Module()
    module.normalizer, other.normalizer = kind(spec), kind(spec)
    module.normalizer.update(nest(DATA))
    module.normalize = tf.function(lambda values: tf.nest.flatten(module.normalizer.normalize(nest(values)))[0])
    expected = module.normalize(tf.constant(DATA))
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.normalize(tf.constant(DATA)), expected)
    path = tf.train.Checkpoint(module).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(other).restore(path)
    np.testing.assert_array_equal(tf.nest.flatten(other.normalizer.normalize(nest(DATA)))[0], expected)
    assert type(module.normalizer.variance()) is type(spec) or isinstance(spec, TensorSpec)


def test_statistics_have_stable_paths() -> None:
    single = [item.path for item in named_variables(normalizer())]
    assert single == ["count", "mean", "sum_of_squares"]
    nested = [item.path for item in named_variables(StreamingTensorNormalizer(NEST))]
    assert nested[:3] == ["count/places/0", "count/places/1", "count/speed"]
    assert len(nested) == 9


def test_statistics_of_two_sets_are_merged_without_losing_small_numbers() -> None:
    rng = np.random.default_rng(5)
    parts = [rng.normal(3.0, 2.0, (size, 2)) for size in (3, 500, 40)]
    total, mean, squares, lost = 0, np.zeros(2), np.zeros(2), np.zeros(2)
    for part in parts:
        own = part.mean(0)
        total, mean, squares, lost = parallel_variance_calculation(
            len(part), own, ((part - own) ** 2).sum(0), total, mean, squares, lost
        )
    values = np.concatenate(parts)
    assert total == len(values)
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(squares / total, values.var(0))

    total, carry = np.float32(1e8), np.float32(0.0)
    for _ in range(1000):
        total, carry = kahan_summation(total, carry, np.float32(1.0))
    assert total == 1e8 + 1000
