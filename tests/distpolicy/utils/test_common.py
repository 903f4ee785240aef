from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.errors import SpecMismatchError
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.utils import common
from distpolicy.utils.common import soft_variables_update
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer


def pair() -> tuple[list[tf.Variable], list[tf.Variable]]:
    """Sources and targets: trainable, not trainable, an integer, a boolean."""
    source = [tf.Variable([4.0, 8.0]), tf.Variable(2.0, trainable=False), tf.Variable(6, trainable=False)]
    target = [tf.Variable([0.0, 4.0]), tf.Variable(4.0, trainable=False), tf.Variable(2, trainable=False)]
    return [*source, tf.Variable(True, trainable=False)], [*target, tf.Variable(False, trainable=False)]


def values(variables: list[tf.Variable]) -> list[Any]:
    return [variable.numpy().tolist() for variable in variables]


@pytest.mark.parametrize(
    ("tau", "tau_non_trainable", "expected"),
    [
        (0.0, None, [[0.0, 4.0], 4.0, 2, False]),
        (0.5, None, [[2.0, 6.0], 3.0, 6, True]),
        (1.0, None, [[4.0, 8.0], 2.0, 6, True]),
        (0.0, 1.0, [[0.0, 4.0], 2.0, 6, True]),
        (0.5, 1.0, [[2.0, 6.0], 2.0, 6, True]),
        (1.0, 0.0, [[4.0, 8.0], 4.0, 2, False]),
        (0.25, 0.5, [[1.0, 5.0], 3.0, 6, True]),
    ],
)
def test_each_variable_moves_by_its_own_tau(tau: float, tau_non_trainable: float | None, expected: list[Any]) -> None:
    source, target = pair()
    before = values(source)
    soft_variables_update(source, target, tau, tau_non_trainable)
    assert values(target) == expected
    assert values(source) == before


def test_full_tau_copies_over_nan_and_zero_tau_takes_none() -> None:
    broken, whole = tf.Variable([math.nan]), tf.Variable([2.0])
    statistic = tf.Variable(0.0, trainable=False)
    soft_variables_update([whole, statistic], [broken, statistic], 1.0, 0.5)
    assert broken.numpy() == [2.0]
    soft_variables_update([tf.Variable([math.nan]), statistic], [whole, statistic], 0.0, 0.5)
    assert whole.numpy() == [2.0]


@settings(max_examples=20)
@given(tau=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_soft_update_equals_a_numpy_reference(tau: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    start, goal = generator.normal(size=(2, 5))
    target = tf.Variable(start)
    soft_variables_update([tf.Variable(goal)], [target], tau)
    np.testing.assert_allclose(target, (1 - tau) * start + tau * goal, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tau", [math.nan, -0.1, 1.1, math.inf])
def test_tau_that_is_nan_or_out_of_range_is_refused_by_name(tau: float) -> None:
    source, target = pair()
    before = values(target)
    with pytest.raises(ValueError, match="`tau`"):
        soft_variables_update(source, target, tau)
    with pytest.raises(ValueError, match="`tau_non_trainable`"):
        soft_variables_update(source, target, 0.5, tau)
    assert values(target) == before


def test_names_pair_in_natural_order() -> None:
    source = [tf.Variable(float(index), name=f"dense_{index}") for index in (8, 9, 10, 11)]
    target = [tf.Variable(-1.0, name=f"dense_{index}") for index in (11, 9, 10, 8)]
    soft_variables_update(source, target, sort_variables_by_name=True)
    assert values(target) == [11.0, 9.0, 10.0, 8.0]
    # A second network's automatic names: 9 to 12 stand for 8 to 11.
    shifted = [tf.Variable(-1.0, name=f"dense_{index}") for index in (9, 10, 11, 12)]
    soft_variables_update(source, shifted, sort_variables_by_name=True)
    assert values(shifted) == [8.0, 9.0, 10.0, 11.0]
    soft_variables_update(source, target)
    assert values(target) == [8.0, 9.0, 10.0, 11.0]


@pytest.mark.parametrize("tau", [1.0, 0.5])
@pytest.mark.parametrize(
    "wrong",
    [tf.Variable([1.0, 2.0, 3.0]), tf.Variable([1, 2]), tf.Variable([[1.0, 2.0]])],
    ids=["size", "dtype", "rank"],
)
def test_pair_that_differs_is_named_and_nothing_is_assigned(wrong: tf.Variable, tau: float) -> None:
    source = [tf.Variable([7.0]), wrong]
    target = [tf.Variable([0.0], name="first"), tf.Variable([0.0, 0.0], name="second")]
    with pytest.raises(SpecMismatchError, match="variable second"):
        soft_variables_update(source, target, tau)
    assert values(target) == [[0.0], [0.0, 0.0]]


def test_counts_that_differ_are_an_error_and_nothing_is_assigned() -> None:
    target = [tf.Variable(0.0, name="shared")]
    with pytest.raises(SpecMismatchError, match=r"2 variables, but target has 1.*extra"):
        soft_variables_update([tf.Variable(1.0, name="shared"), tf.Variable(1.0, name="extra")], target)
    assert values(target) == [0.0]
    with pytest.raises(SpecMismatchError, match="target has 0"):
        soft_variables_update([tf.Variable(1.0)], [])
    with pytest.raises(SpecMismatchError, match="source has 0"):
        soft_variables_update([], target)


Snapshot = Callable[[Any], dict[str, np.ndarray]]
SameBits = Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], None]


def normalizer(offset: float) -> StreamingTensorNormalizer:
    made = StreamingTensorNormalizer(ArraySpec((3,), np.float32))
    made.update(tf.constant(np.random.default_rng(0).normal(offset, size=(5, 3))))
    return made


def test_policy_update_copies_all_variables(
    make_policy: Callable[..., ActorPolicy], snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    source = make_policy(weights_seed=1, observation_normalizer=normalizer(1.0))
    target = make_policy(weights_seed=2, observation_normalizer=normalizer(2.0))
    target.update(source)
    assert_same_bits(snapshot(target), snapshot(source))
    source.variables()[0].assign_add(tf.ones_like(source.variables()[0]))
    assert not np.array_equal(source.variables()[0], target.variables()[0])


def test_policy_update_with_tau_zero_still_copies_statistics(
    make_policy: Callable[..., ActorPolicy], snapshot: Snapshot
) -> None:
    source = make_policy(weights_seed=1, observation_normalizer=normalizer(1.0))
    target = make_policy(weights_seed=2, observation_normalizer=normalizer(2.0))
    before, goal = snapshot(target), snapshot(source)
    target.update(source, tau=0.0, tau_non_trainable=1.0)
    after = snapshot(target)
    for path in after:
        expected = goal if path.startswith("observation_normalizer/") else before
        np.testing.assert_array_equal(after[path], expected[path], err_msg=path)
    assert sum(path.startswith("observation_normalizer/") for path in after) == 3


def test_policy_update_can_change_its_tau_from_call_to_call(make_policy: Callable[..., ActorPolicy]) -> None:
    source, target = make_policy(weights_seed=1), make_policy(weights_seed=2)
    start, goal = target.variables()[0].numpy(), source.variables()[0].numpy()
    share = 0.0
    for tau in (0.0, 0.5, 0.25, 1.0):
        target.update(source, tau=tau)
        share = (1 - tau) * share + tau
        np.testing.assert_allclose(target.variables()[0], (1 - share) * start + share * goal, rtol=1e-5, atol=1e-6)


def test_policy_of_another_size_is_refused_and_nothing_is_assigned(
    make_policy: Callable[..., ActorPolicy], snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    target = make_policy()
    before = snapshot(target)
    # The encoder fits, the last layer does not.
    with pytest.raises(
        SpecMismatchError, match=r"variable actor_network/projection/logits/kernel: .*\(8, 5\).*\(8, 4\)"
    ):
        target.update(make_policy(BoundedArraySpec((), np.int64, 0, 4), weights_seed=5))
    with pytest.raises(SpecMismatchError, match="observation_normalizer/count"):
        target.update(make_policy(weights_seed=5, observation_normalizer=normalizer(1.0)))
    assert_same_bits(snapshot(target), before)


def test_eager_policy_update_reaches_the_wrapped_policy(
    make_policy: Callable[..., ActorPolicy], snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    source, target = make_policy(weights_seed=1), make_policy(weights_seed=2)
    wrapped = PyTFEagerPolicy(target)
    start = wrapped.variables()[0]
    wrapped.update(source, 0.5)
    halfway = (start + source.variables()[0].numpy()) / 2
    np.testing.assert_allclose(wrapped.variables()[0], halfway, rtol=1e-5, atol=1e-6)
    wrapped.update(PyTFEagerPolicy(source))
    assert_same_bits(snapshot(wrapped), snapshot(source))
    assert_same_bits(snapshot(target), snapshot(source))
    with pytest.raises(ValueError, match="tau"):
        wrapped.update(source, math.nan)


def test_functions_are_traced_once_for_growing_batches_and_not_converted() -> None:
    @common.function
    def plain(value: tf.Tensor) -> tf.Tensor:
        return value * 2

    @common.function()
    def called(value: tf.Tensor) -> tf.Tensor:
        if value.shape[0] is None:
            return value
        return value + 1

    for size in range(1, 6):
        np.testing.assert_array_equal(plain(tf.ones([size])), [2.0] * size)
    assert plain.experimental_get_tracing_count() <= 2
    np.testing.assert_array_equal(called(tf.ones([1])), [2.0])
    eager = common.function(lambda: tf.executing_eagerly(), reduce_retracing=False)
    assert not eager()

    @common.function
    def branches(value: tf.Tensor) -> tf.Tensor:
        return value if value > 0 else -value

    with pytest.raises(Exception, match="symbolic"):
        branches(tf.constant(1.0))


def test_state_is_told_from_none() -> None:
    assert common.safe_has_state([tf.zeros([1])])
    assert common.safe_has_state(tf.zeros([1]))
    assert common.safe_has_state({"a": tf.zeros([1])})
    for nothing in ((), [], None):
        assert not common.safe_has_state(nothing)


def test_soft_placement_holds_within_it_only() -> None:
    before = tf.config.get_soft_device_placement()
    for setting in (False, True):
        tf.config.set_soft_device_placement(setting)
        with common.soft_device_placement():
            assert tf.config.get_soft_device_placement()
        assert tf.config.get_soft_device_placement() == setting
    tf.config.set_soft_device_placement(before)
