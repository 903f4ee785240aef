from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from linear_policies import (
    BOX,
    DISCRETE,
    SHIFTED,
    STEP_SPEC,
    Linear,
    masked_q_policy,
    masked_step,
    q_policy,
    random_step,
    seeds,
)

from distpolicy.policies.q_policy import QPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import StepType

KERNEL = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def _values(step: Any) -> np.ndarray:
    return np.asarray(step.observation) @ KERNEL


def test_logits_are_the_q_values() -> None:
    step = random_step(5)
    np.testing.assert_allclose(q_policy().distribution(step).action.logits, _values(step), rtol=1e-5)


@pytest.mark.parametrize("spec", [DISCRETE, SHIFTED, BoundedArraySpec((), np.int32, -2, 1)])
def test_actions_begin_at_the_spec_s_minimum(spec: BoundedArraySpec) -> None:
    policy, step = q_policy(spec=spec, emit_log_probability=True), random_step(4000, step_type=0)
    step = step._replace(observation=tf.repeat(step.observation[:1], 4000, axis=0))
    result = policy.action(step, seed=1)
    assert result.action.dtype == spec.dtype
    probabilities = np.exp(_values(step)[0]) / np.exp(_values(step)[0]).sum()
    counts = np.bincount(np.asarray(result.action) - spec.minimum, minlength=4)
    assert np.abs(counts / 4000 - probabilities).max() < 0.03
    expected = np.log(probabilities)[np.asarray(result.action) - spec.minimum]
    np.testing.assert_allclose(result.info.log_probability, expected, rtol=1e-4)


@pytest.mark.parametrize("spec", [DISCRETE, SHIFTED])
def test_masked_actions_are_never_drawn(spec: BoundedArraySpec) -> None:
    step = masked_step([[0, 1, 1, 0]] * 500)
    policy = masked_q_policy(spec, emit_log_probability=True)
    result = policy.action(step, seed=2)
    minimum = int(spec.minimum)
    np.testing.assert_array_equal(np.unique(result.action), [minimum + 1, minimum + 2])
    allowed = (np.asarray(step.observation["x"]) @ KERNEL)[:, 1:3]
    log_probability = allowed - np.log(np.exp(allowed).sum(axis=-1, keepdims=True))
    expected = log_probability[np.arange(500), np.asarray(result.action) - minimum - 1]
    np.testing.assert_allclose(result.info.log_probability, expected, rtol=1e-4, atol=1e-5)


def test_nest_of_one_action_keeps_its_structure() -> None:
    action = q_policy(spec=[DISCRETE]).action(random_step(3)).action
    assert type(action) is list
    assert action[0].shape == (3,)


def test_state_is_the_network_s() -> None:
    policy = q_policy(recurrent=True)
    assert policy.get_initial_state(2).shape == (2, 3)
    step = random_step(2, step_type=[StepType.FIRST, StepType.MID])
    state = policy.action(step, tf.ones([2, 3])).state
    np.testing.assert_allclose(state, step.observation + np.array([[0.0], [0.5]]), rtol=1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([DISCRETE, DISCRETE], "one scalar integer action"),
        (BOX, "one scalar integer action"),
        (BoundedArraySpec((1,), np.int64, 0, 3), "one scalar integer action"),
        (tf.TensorSpec((), tf.int64), "bounds"),
        (BoundedArraySpec((), np.int64, 0, 4), r"inner shape \[5\]"),
    ],
)
def test_action_that_does_not_fit_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        q_policy(spec=spec)


def test_several_actions_are_refused_without_validation_too() -> None:
    with pytest.raises(NotImplementedError):
        q_policy(spec=[DISCRETE, DISCRETE], validate_action_spec_and_network=False)


def test_network_of_another_action_or_no_network_is_refused() -> None:
    network = Linear((4,))
    network.action_spec = BoundedArraySpec((), np.int32, 0, 3)
    with pytest.raises(ValueError, match="built for the action"):
        QPolicy(STEP_SPEC, DISCRETE, network)
    with pytest.raises(ValueError, match="must be a Network"):
        QPolicy(STEP_SPEC, DISCRETE, lambda observation: observation)


def test_update_copies_the_network() -> None:
    target, source, step = q_policy(seed=1), q_policy(seed=0), random_step(3)
    assert not np.allclose(target.distribution(step).action.logits, _values(step))
    target.update(source)
    np.testing.assert_allclose(target.distribution(step).action.logits, _values(step), rtol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: (q_policy(), random_step(3)), lambda: (masked_q_policy(SHIFTED), masked_step([[1, 0, 1, 1]] * 3))]
)
def test_xla_compiles_it_once(make: Any) -> None:
    policy, step = make()
    compiled = tf.function(policy.action, autograph=False, jit_compile=True)
    for seed in range(3):
        expected = policy.action(step, (), seeds(3, seed)).action
        np.testing.assert_array_equal(compiled(step, (), seeds(3, seed)).action, expected)
    assert compiled.experimental_get_tracing_count() == 1
