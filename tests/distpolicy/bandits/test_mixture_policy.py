from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.bandits.policies.mixture_policy import MixturePolicy
from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.gaussian_policy import GaussianPolicy
from distpolicy.trajectories.time_step import StepType

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "policies"))

from linear_policies import BOX, DISCRETE, STEP_SPEC, actor_policy, q_policy, random_step, seeds

SHARES = tfp.distributions.Categorical(probs=[0.2, 0.5, 0.3])


def _fixed(value: float, **arguments: Any) -> FixedPolicy:
    return FixedPolicy(np.array([value, value]), STEP_SPEC, BOX, **arguments)


def test_each_policy_acts_in_its_share_of_the_rows() -> None:
    policy = MixturePolicy(SHARES, [_fixed(0.0), _fixed(0.25), _fixed(0.5)])
    result = policy.action(random_step(5000), seed=1)
    chosen = np.asarray(result.info["mixture_agent_id"])
    assert np.abs(np.bincount(chosen) / 5000 - [0.2, 0.5, 0.3]).max() < 0.03
    np.testing.assert_allclose(result.action, np.repeat(0.25 * chosen[:, np.newaxis], 2, axis=1))
    assert result.info["mixture_agent_id"].dtype == tf.int32
    assert result.info["subpolicy_info"].log_probability.shape == (5000,)


def test_info_is_that_of_the_policy_that_acted() -> None:
    spec = {"note": tf.TensorSpec((), tf.int32)}
    policies = [_fixed(0.0, emit_log_probability=False, policy_info={"note": n}, info_spec=spec) for n in (5, 6, 7)]
    info = MixturePolicy(SHARES, policies).action(random_step(50)).info
    np.testing.assert_array_equal(info["subpolicy_info"]["note"], info["mixture_agent_id"] + 5)


def test_every_policy_s_state_is_carried_whichever_acts() -> None:
    first, second = actor_policy(recurrent=True), actor_policy(recurrent=True, seed=1)
    policy = MixturePolicy(tfp.distributions.Categorical(probs=[1.0, 0.0]), [first, second])
    step, rows = random_step(2, step_type=[StepType.FIRST, StepType.MID]), seeds(2)
    state = (tf.ones([2, 3]), 2.0 * tf.ones([2, 3]))
    result = policy.action(step, state, rows)
    np.testing.assert_array_equal(result.info["mixture_agent_id"], [0, 0])
    np.testing.assert_allclose(result.action, first.action(step, state[0], rows).action)
    np.testing.assert_allclose(result.state[0], first.action(step, state[0], rows).state)
    np.testing.assert_allclose(result.state[1], second.action(step, state[1], rows).state)
    assert [item.shape for item in policy.get_initial_state(4)] == [(4, 3), (4, 3)]


def test_policies_with_and_without_state_can_be_mixed() -> None:
    policy = MixturePolicy(
        tfp.distributions.Categorical(logits=[0.0, 0.0]), [actor_policy(), actor_policy(recurrent=True)]
    )
    state = policy.get_initial_state(3)
    assert state[0] == ()
    assert policy.action(random_step(3), state, 1).state[1].shape == (3, 3)
    stateless = MixturePolicy(tfp.distributions.Categorical(logits=[0.0]), [actor_policy()])
    assert stateless.policy_state_spec == ()
    assert stateless.get_initial_state(3) == ()


def test_rows_choose_by_their_own_seeds() -> None:
    policy = MixturePolicy(SHARES, [_fixed(0.0), GaussianPolicy(_fixed(0.25)), _fixed(0.5)])
    rows, order = seeds(12), np.arange(12)[::-1]
    action = np.asarray(policy.action(random_step(12), seed=rows).action)
    np.testing.assert_array_equal(action[order], policy.action(random_step(12), seed=tf.gather(rows, order)).action)


def test_choice_is_not_the_draw_of_a_policy() -> None:
    inner = [q_policy(), q_policy(seed=1)]
    step, rows = random_step(4000), seeds(4000)
    step = step._replace(observation=tf.zeros([4000, 3]))
    policy = MixturePolicy(tfp.distributions.Categorical(logits=[0.0, 0.0]), inner)
    chosen = np.asarray(policy.action(step, seed=rows).info["mixture_agent_id"])
    drawn = np.asarray(inner[0].action(step, seed=rows).action)
    assert abs(np.corrcoef(chosen, drawn)[0, 1]) < 0.06


def test_variables_are_those_of_all_policies_and_of_the_mixture() -> None:
    logits = tf.Variable([0.0, 1.0])
    inner = [q_policy(), q_policy(seed=1)]
    policy = MixturePolicy(tfp.distributions.Categorical(logits=logits), inner)
    expected = {id(logits), *(id(item) for one in inner for item in one.variables())}
    assert {id(item) for item in policy.variables()} == expected
    other = MixturePolicy(tfp.distributions.Categorical(logits=tf.Variable([2.0, 3.0])), [q_policy(), q_policy()])
    policy.update(other)
    np.testing.assert_array_equal(logits, [2.0, 3.0])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_it_draws_alike_and_is_traced_once(jit_compile: bool) -> None:
    policy = MixturePolicy(SHARES, [_fixed(0.0), GaussianPolicy(_fixed(0.25)), _fixed(0.5)])
    compiled = tf.function(policy.action, jit_compile=jit_compile, autograph=False)
    for seed in range(3):
        found, expected = (call(random_step(4), (), seeds(4, seed)) for call in (compiled, policy.action))
        np.testing.assert_allclose(found.action, expected.action, rtol=1e-5)
        np.testing.assert_array_equal(found.info["mixture_agent_id"], expected.info["mixture_agent_id"])
    assert compiled.experimental_get_tracing_count() == 1


def test_what_is_not_categorical_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="Normal"):
        MixturePolicy(tfp.distributions.Normal(0.0, 1.0), [_fixed(0.0)])


@pytest.mark.parametrize("logits", [[0.0, 0.0, 0.0], [[0.0, 0.0]]])
def test_categories_have_to_be_as_many_as_policies(logits: Any) -> None:
    with pytest.raises(ValueError, match="2 policies"):
        MixturePolicy(tfp.distributions.Categorical(logits=logits), [_fixed(0.0), _fixed(1.0)])


def test_policies_with_other_specs_are_refused_and_the_leaf_is_named() -> None:
    even = tfp.distributions.Categorical(logits=[0.0, 0.0])
    with pytest.raises(ValueError, match=r"policies\[1\].action_spec is"):
        MixturePolicy(even, [_fixed(0.0), FixedPolicy(1, STEP_SPEC, DISCRETE)])
    with pytest.raises(ValueError, match=r"policies\[1\].info_spec has the leaves"):
        MixturePolicy(even, [_fixed(0.0), _fixed(1.0, emit_log_probability=False)])


def test_it_has_no_distribution() -> None:
    with pytest.raises(NotImplementedError):
        MixturePolicy(SHARES, [_fixed(0.0), _fixed(0.25), _fixed(0.5)]).distribution(random_step(1))
