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
