from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep

BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")


@pytest.mark.parametrize("minimum", [0, -3, 5])
def test_mode_of_a_categorical_is_its_most_likely_value(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    row_seeds: Any,
    minimum: int,
) -> None:
    policy = make_policy(BoundedArraySpec((), np.int64, minimum, minimum + 3), weights_seed=2)
    step = to_tensors(make_step(64))
    distribution = policy.distribution(step).action
    log_probabilities = np.stack([distribution.log_prob(tf.fill([64], np.int64(minimum + k))) for k in range(4)])
    expected = minimum + log_probabilities.argmax(axis=0)
    assert len(np.unique(expected)) > 1
    for seed in (None, tf.constant([1, 2]), tf.constant(row_seeds(64))):
        np.testing.assert_array_equal(GreedyPolicy(policy).action(step, (), seed).action, expected)


def test_mode_of_a_normal_is_its_mean_within_the_bounds(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any]
) -> None:
    policy = make_policy(BOX)
    step = to_tensors(make_step(64))
    mean = policy.distribution(step).action.mean().numpy()
    action = GreedyPolicy(policy).action(step).action
    np.testing.assert_allclose(action, np.clip(mean, BOX.minimum, BOX.maximum), rtol=1e-6)


def test_mode_of_a_squashed_normal_is_the_squashed_mean(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any]
) -> None:
    policy = make_policy(BOX, network={"continuous_projection_net": TanhNormalProjectionNetwork})
    step = to_tensors(make_step(64))
    mean = policy.distribution(step).action.input_distribution.mean().numpy()
    expected = np.array([0.0, 2.0]) + np.array([1.0, 2.0]) * np.tanh(mean)
    np.testing.assert_allclose(GreedyPolicy(policy).action(step).action, expected, rtol=1e-5, atol=1e-6)


def test_variables_are_those_of_the_wrapped_policy(make_policy: Callable[..., ActorPolicy]) -> None:
    policy = make_policy()
    greedy = GreedyPolicy(policy)
    assert greedy.wrapped_policy is policy
    assert [id(item) for item in greedy.variables()] == [id(item) for item in policy.variables()]


def test_wrapped_policy_resets_the_state(
    make_recurrent_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
) -> None:
    greedy = GreedyPolicy(make_recurrent_policy())
    state = {"sum": tf.ones([2, 3]), "steps": tf.constant([5, 6])}
    step = to_tensors(make_step(2, step_type=[StepType.FIRST, StepType.MID]))
    np.testing.assert_array_equal(greedy.action(step, state).state["steps"], [1, 7])
    assert set(greedy.get_initial_state(2)) == {"sum", "steps"}


@pytest.mark.parametrize("spec", [BoundedArraySpec((), np.int64, 0, 3), BOX])
def test_log_probability_of_what_is_certain_is_0(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    spec: BoundedArraySpec,
) -> None:
    policy = make_policy(spec, emit_log_probability=True)
    greedy = GreedyPolicy(policy)
    assert greedy.info_spec == policy.info_spec
    assert greedy.emit_log_probability
    np.testing.assert_array_equal(greedy.action(to_tensors(make_step(5))).info.log_probability, np.zeros(5))


def test_info_of_the_wrapped_policy_is_passed_on() -> None:
    class Informed(TFPolicy):
        def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
            mode = tfp.distributions.Deterministic(time_step.observation)
            return PolicyStep(mode, policy_state, {"note": time_step.step_type})

    policy = Informed(
        ts.time_step_spec(ArraySpec((), np.float32)),
        BoundedArraySpec((), np.float32),
        info_spec={"note": ArraySpec((), np.int32)},
    )
    step = GreedyPolicy(policy).action(ts.transition(tf.zeros([2]), tf.zeros([2])))
    np.testing.assert_array_equal(step.info["note"], [1, 1])


def test_distribution_without_a_mode_is_an_error() -> None:
    class Mixed(TFPolicy):
        def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
            parts = tfp.distributions.Categorical(logits=tf.zeros_like(time_step.observation)[:, tf.newaxis])
            normal = tfp.distributions.Normal(time_step.observation[:, tf.newaxis], 1.0)
            return PolicyStep(tfp.distributions.MixtureSameFamily(parts, normal), policy_state, ())

    policy = Mixed(ts.time_step_spec(ArraySpec((), np.float32)), BoundedArraySpec((), np.float32))
    for call in (GreedyPolicy(policy).action, GreedyPolicy(policy).distribution):
        with pytest.raises(ValueError, match="MixtureSameFamily has no mode"):
            call(ts.restart(tf.zeros([2]), 2))


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="wraps a TFPolicy"):
        GreedyPolicy(lambda step: step)  # type: ignore[arg-type]


def test_state_is_carried_over_first_where_the_wrapped_policy_carries_it() -> None:
    class Carrier(TFPolicy):
        def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
            return PolicyStep(tfp.distributions.Deterministic(time_step.observation), policy_state + 1.0, ())

    for resets, expected in ((True, [1.0, 1.0]), (False, [6.0, 7.0])):
        policy = Carrier(
            ts.time_step_spec(ArraySpec((), np.float32)),
            BoundedArraySpec((), np.float32),
            policy_state_spec=ArraySpec((), np.float32),
            automatic_state_reset=resets,
        )
        state = GreedyPolicy(policy).action(ts.restart(tf.zeros([2]), 2), tf.constant([5.0, 6.0])).state
        np.testing.assert_array_equal(state, expected)
