from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import StepType, TimeStep

KINDS = pytest.mark.parametrize("kind", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])


def check(step: TimeStep, kind: Any, step_type: Any, reward: Any, discount: Any) -> None:
    for got, expected, dtype in (
        (step.step_type, step_type, np.int32),
        (step.reward, reward, np.float32),
        (step.discount, discount, np.float32),
    ):
        assert tf.is_tensor(got) == (kind is tf.constant)
        array = np.asarray(got)
        assert array.dtype == dtype
        assert array.shape == np.shape(expected)
        np.testing.assert_allclose(array, expected, rtol=1e-6)


@KINDS
def test_restart_is_first_with_reward_0_and_discount_1(kind: Any) -> None:
    observation = kind(np.ones((2, 3), np.float32))
    single = ts.restart(observation[0])
    check(single, kind, 0, 0.0, 1.0)
    batch = ts.restart(observation, 2)
    check(batch, kind, [0, 0], [0.0, 0.0], [1.0, 1.0])
    assert batch.observation is observation
    assert np.all(batch.is_first())
    assert not np.any(batch.is_mid() | batch.is_last())


@KINDS
def test_transition_is_mid(kind: Any) -> None:
    observation = {"b": kind(np.ones((2, 3), np.float32)), "a": (kind(np.zeros(2)),)}
    step = ts.transition(observation, kind(np.array([1.0, 2.0])), 0.9)
    check(step, kind, [1, 1], [1.0, 2.0], [0.9, 0.9])
    assert np.all(step.is_mid())
    assert not np.any(step.is_first() | step.is_last())
    check(ts.transition(observation, 3.0, outer_dims=[2]), kind, [1, 1], [3.0, 3.0], [1.0, 1.0])
    check(ts.transition(observation, 3.0), kind, 1, 3.0, 1.0)


@KINDS
def test_termination_is_last_with_discount_0(kind: Any) -> None:
    observation = kind(np.ones((2, 3), np.float32))
    step = ts.termination(observation, kind(np.array([1.0, 2.0], np.float32)))
    check(step, kind, [2, 2], [1.0, 2.0], [0.0, 0.0])
    assert np.all(step.is_last())
    check(ts.termination(observation, 1.0, outer_dims=(2,)), kind, [2, 2], [1.0, 1.0], [0.0, 0.0])


@KINDS
def test_truncation_is_last_and_keeps_its_discount(kind: Any) -> None:
    observation = kind(np.ones((2, 3), np.float32))
    check(ts.truncation(observation, [1.0, 2.0]), kind, [2, 2], [1.0, 2.0], [1.0, 1.0])
    step = ts.truncation(observation, kind(np.array([1.0, 2.0], np.float32)), kind(np.array([0.5, 0.9], np.float32)))
    check(step, kind, [2, 2], [1.0, 2.0], [0.5, 0.9])


def test_arrays_of_steps_can_be_written_to() -> None:
    step = ts.transition(np.ones((2, 3), np.float32), 3.0, outer_dims=[2])
    step.reward[0] = 5.0
    np.testing.assert_array_equal(step.reward, [5.0, 3.0])
    step.step_type[0] = StepType.LAST
    np.testing.assert_array_equal(step.is_last(), [True, False])


def test_array_specs_give_a_spec_of_arrays() -> None:
    observation = {"camera": BoundedArraySpec((2, 2), np.uint8), "speed": ArraySpec((), np.float32)}
    spec = ts.time_step_spec(observation)
    assert spec.step_type == ArraySpec((), np.int32)
    assert spec.reward == ArraySpec((), np.float32)
    assert spec.discount == BoundedArraySpec((), np.float32, 0.0, 1.0)
    assert spec.observation is observation
    step = ts.restart(np.zeros((2, 2), np.uint8))
    assert spec.step_type.check_array(step.step_type)
    assert spec.reward.check_array(step.reward)
    assert spec.discount.check_array(step.discount)


def test_tensor_specs_give_a_spec_of_tensors() -> None:
    for observation in (TensorSpec((3,), tf.float32), (BoundedTensorSpec((3,), tf.float32, 0, 1),)):
        spec = ts.time_step_spec(observation)
        assert spec.step_type == TensorSpec((), tf.int32, "step_type")
        assert spec.reward == TensorSpec((), tf.float32, "reward")
        assert isinstance(spec.discount, BoundedTensorSpec)
        assert spec.discount.maximum == 1.0
        assert spec.observation is observation


def test_anything_else_is_refused() -> None:
    with pytest.raises(SpecMismatchError, match="int"):
        ts.time_step_spec({"camera": 3})


def test_step_types_are_made_of_numbers() -> None:
    assert StepType(0) is StepType.FIRST
    assert StepType(np.int64(1)) is StepType.MID
    assert StepType(StepType.LAST) is StepType.LAST
    for wrong in (3, -1, 0.5, "first", None, [0]):
        with pytest.raises(ValueError, match="not a step type"):
            StepType(wrong)


@KINDS
def test_restart_takes_specs_of_rewards(kind: Any) -> None:
    observation = kind(np.ones((2, 3), np.float32))
    for spec in (ArraySpec((4,), np.float64), TensorSpec((4,), tf.float64)):
        reward = ts.restart(observation, 2, {"a": spec}).reward["a"]
        assert tf.is_tensor(reward) == (kind is tf.constant)
        assert reward.shape == (2, 4)
        assert reward.dtype == np.float64
        assert ts.restart(observation, reward_spec=spec).reward.shape == (4,)


@KINDS
@pytest.mark.parametrize("batch_size", [2, np.int64(2), [2], tf.constant(2), tf.constant([2])], ids=repr)
def test_restart_takes_any_kind_of_batch_size(kind: Any, batch_size: Any) -> None:
    check(ts.restart(kind(np.ones((2, 3))), batch_size), kind, [0, 0], [0.0, 0.0], [1.0, 1.0])
    check(ts.restart(kind(np.ones((1, 2, 3))), [1, 2]), kind, [[0, 0]], [[0.0, 0.0]], [[1.0, 1.0]])


@KINDS
def test_discount_is_broadcast_to_the_batch(kind: Any) -> None:
    observation = kind(np.ones((2, 3), np.float32))
    for make in (ts.transition, ts.truncation):
        np.testing.assert_array_equal(make(observation, [1.0, 2.0]).discount, [1.0, 1.0])
        np.testing.assert_allclose(make(observation, [1.0, 2.0], 0.9).discount, [0.9, 0.9], rtol=1e-6)
        np.testing.assert_allclose(make(observation, [1.0, 2.0], [0.5, 0.9]).discount, [0.5, 0.9], rtol=1e-6)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="3"):
        ts.transition(observation, [1.0, 2.0], [0.1, 0.2, 0.3])


@KINDS
def test_rewards_may_be_nests_and_vectors(kind: Any) -> None:
    observation = kind(np.ones((2, 3), np.float32))
    step = ts.transition(observation, {"a": kind(np.array([1.0, 2.0])), "b": (3.0,)})
    np.testing.assert_array_equal(step.step_type, [1, 1])
    assert step.reward["a"].dtype == np.float32
    assert tf.is_tensor(step.reward["b"][0]) == (kind is tf.constant)
    vector = kind(np.arange(10.0).reshape(2, 5))
    for make in (ts.transition, ts.termination, ts.truncation):
        step = make(observation, vector, outer_dims=[2])
        assert step.step_type.shape == (2,)
        assert step.discount.shape == (2,)
        # With outer dimensions given, the reward is the caller's own.
        assert step.reward.dtype == np.float64
        np.testing.assert_array_equal(step.reward, vector)
        assert make(observation[0], kind(np.arange(5.0)), outer_dims=()).step_type.shape == ()


@pytest.mark.parametrize("wrong", [None, np.nan, [1.0, np.nan], np.array([np.nan, 1.0])], ids=repr)
def test_reward_or_discount_that_is_nan_or_none_is_refused(wrong: Any) -> None:
    observation = np.ones((2, 3), np.float32)
    for make in (ts.transition, ts.termination, ts.truncation):
        with pytest.raises(ValueError, match="reward is NaN or None"):
            make(observation, wrong)
    with pytest.raises(ValueError, match="discount is NaN or None"):
        ts.transition(observation, [1.0, 2.0], wrong)


def test_steps_are_made_in_a_graph_with_an_open_batch_size() -> None:
    @tf.function(input_signature=[tf.TensorSpec((None, 3)), tf.TensorSpec((None,))])
    def steps(observation: Any, reward: Any) -> Any:
        return ts.restart(observation, tf.shape(observation)[0]), ts.termination(observation, reward)

    first, last = steps(tf.zeros([4, 3]), tf.ones([4]))
    check(first, tf.constant, [0] * 4, [0.0] * 4, [1.0] * 4)
    check(last, tf.constant, [2] * 4, [1.0] * 4, [0.0] * 4)


def test_reward_specs_are_kept() -> None:
    for observation, reward in (
        (ArraySpec((2,), np.float32), {"a": ArraySpec((3,), np.float64)}),
        (TensorSpec((2,), tf.float32), TensorSpec((3,), tf.float32)),
    ):
        assert ts.time_step_spec(observation, reward).reward is reward
    for mixed in (
        (TensorSpec((2,), tf.float32), ArraySpec((3,), np.float32)),
        ((TensorSpec((2,), tf.float32), ArraySpec((3,), np.float32)),),
    ):
        with pytest.raises(TypeError, match="all be array specs or all tensor specs"):
            ts.time_step_spec(*mixed)


def test_no_observation_specs_make_a_step_without_specs() -> None:
    assert ts.time_step_spec() == TimeStep((), (), (), ())
    assert ts.time_step_spec(()).step_type == ArraySpec((), np.int32)
    assert ts.restart(()).reward.dtype == np.float32
