from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyInfo, PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.trajectories.trajectory import Trajectory

BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")
NESTED_OBSERVATION = {
    "camera": BoundedArraySpec((2, 2), np.uint8, name="camera"),
    "speed": ArraySpec((), np.float32, "speed"),
}
FLAG = BoundedArraySpec((), np.int64, 0, 1, "action")


class FixedStepPolicy(TFPolicy):
    """Answers with the step that it is given."""

    def __init__(self, step: PolicyStep, **arguments: Any) -> None:
        super().__init__(ts.time_step_spec(NESTED_OBSERVATION), FLAG, **arguments)
        self._step = step

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        return self._step

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError


class TwoHeadedPolicy(TFPolicy):
    """Two independent draws from the same distribution."""

    def __init__(self) -> None:
        action_spec = {"left": BoundedArraySpec((), np.int64, 0, 3), "right": BoundedArraySpec((), np.int64, 0, 3)}
        super().__init__(
            ts.time_step_spec(ArraySpec((3,), np.float32)),
            action_spec,
            emit_log_probability=True,
            info_spec={"step": ArraySpec((), np.int32)},
        )

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        logits = tf.zeros([time_step.reward.shape[0], 4])
        heads = {side: tfp.distributions.Categorical(logits=logits, dtype=tf.int64) for side in ("left", "right")}
        return PolicyStep(heads, (), {"step": time_step.step_type})


def nested_step(batch_size: int = 2) -> TimeStep:
    observation = {"camera": tf.zeros([batch_size, 2, 2], tf.uint8), "speed": tf.zeros([batch_size])}
    return ts.restart(observation, batch_size)


def fixed_policy(action: Any = None, **arguments: Any) -> FixedStepPolicy:
    return FixedStepPolicy(PolicyStep(tf.zeros([2], tf.int64) if action is None else action), **arguments)


# Errors.


def test_time_step_spec_that_is_no_time_step_is_refused() -> None:
    class Policy(FixedStepPolicy):
        def __init__(self) -> None:
            TFPolicy.__init__(self, tuple(ts.time_step_spec(NESTED_OBSERVATION)), FLAG)

    with pytest.raises(ValueError, match="TimeStep"):
        Policy()


@pytest.mark.parametrize("base_init", [True, False])
def test_policy_without_super_init_says_so(base_init: bool) -> None:
    class Forgetful(FixedStepPolicy):
        def __init__(self) -> None:
            if base_init:
                tf.Module.__init__(self)

    with pytest.raises(RuntimeError, match=r"Forgetful.*super"):
        Forgetful().action(nested_step())
    with pytest.raises(RuntimeError, match=r"Forgetful.*super"):
        Forgetful().distribution(nested_step())


def test_wrong_time_step_is_refused_and_the_leaf_is_named() -> None:
    policy = fixed_policy()
    good = nested_step()
    assert policy.action(good).action.shape == (2,)
    missing = good._replace(observation={"camera": good.observation["camera"]})
    with pytest.raises(ValueError, match=r"time_step.*speed"):
        policy.action(missing)
    with pytest.raises(TypeError, match="time_step"):
        policy.action(tuple(good))
    wrong_dtype = good._replace(observation={**good.observation, "camera": tf.zeros([2, 2, 2])})
    with pytest.raises(TypeError, match=r"time_step/observation/camera.*uint8.*float32"):
        policy.action(wrong_dtype)
    wrong_shape = good._replace(observation={**good.observation, "camera": tf.zeros([2, 2, 3], tf.uint8)})
    with pytest.raises(ValueError, match=r"time_step/observation/camera.*\(2, 2\).*\(2, 2, 3\)"):
        policy.action(wrong_shape)
    wrong_rank = good._replace(reward=tf.zeros([2, 1]))
    with pytest.raises(ValueError, match="time_step/reward"):
        policy.action(wrong_rank)
    with pytest.raises(TypeError, match="time_step/reward"):
        policy.action(good._replace(reward=tf.zeros([2], tf.float64)))


def test_wrong_answers_are_refused_and_the_leaf_is_named() -> None:
    for clip in (False, True):
        with pytest.raises(TypeError, match=r"action.*int64.*int32"):
            fixed_policy(tf.zeros([2], tf.int32), clip=clip).action(nested_step())
    with pytest.raises(ValueError, match="info"):
        FixedStepPolicy(PolicyStep(tf.zeros([2], tf.int64), (), tf.zeros([2]))).action(nested_step())
    info_spec = {"value": ArraySpec((), np.float32)}
    wrong_info = PolicyStep(tf.zeros([2], tf.int64), (), {"value": tf.zeros([2], tf.int32)})
    with pytest.raises(TypeError, match="info/value"):
        FixedStepPolicy(wrong_info, info_spec=info_spec).action(nested_step())


def test_nothing_is_checked_without_validate_args() -> None:
    policy = fixed_policy(tf.zeros([2], tf.int32), clip=False, validate_args=False)
    assert policy.action(nested_step()).action.dtype == tf.int32


def test_stateful_policy_without_a_state_is_an_error(
    make_recurrent_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any
) -> None:
    policy = make_recurrent_policy()
    for missing in ((), None, {}):
        with pytest.raises(ValueError, match="stateful"):
            policy.action(to_tensors(make_step(2)), missing)
        with pytest.raises(ValueError, match="stateful"):
            policy.distribution(to_tensors(make_step(2)), missing)


def test_wrong_state_is_refused_and_the_leaf_is_named(
    make_recurrent_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any
) -> None:
    policy = make_recurrent_policy()
    step = to_tensors(make_step(2))
    state = policy.get_initial_state(2)
    with pytest.raises(TypeError, match="policy_state/sum"):
        policy.action(step, {**state, "sum": tf.zeros([2, 3], tf.float64)})
    with pytest.raises(ValueError, match="policy_state/sum"):
        policy.action(step, {**state, "sum": tf.zeros([2, 4])})
    with pytest.raises(ValueError, match="policy_state/steps"):
        policy.action(step, policy.get_initial_state(None))


# Specs.


def test_specs_are_what_was_given_and_log_probability_is_added() -> None:
    given_info = {"step": ArraySpec((), np.int32)}
    policy = TwoHeadedPolicy()
    assert set(policy.info_spec) == {"step", "log_probability"}
    assert set(policy.info_spec["log_probability"]) == {"left", "right"}
    assert set(given_info) == {"step"}
    assert isinstance(policy.action_spec, dict)
    assert policy.policy_step_spec == PolicyStep(policy.action_spec, (), policy.info_spec)
    assert isinstance(policy.trajectory_spec, Trajectory)
    assert policy.collect_data_spec.next_step_type == policy.time_step_spec.step_type
    info_spec = fixed_policy(emit_log_probability=True).info_spec
    assert info_spec == PolicyInfo(tf.TensorSpec((), tf.float32, "log_probability"))


# State.


def test_state_is_zeroed_where_first_and_only_there(
    make_recurrent_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any
) -> None:
    policy = make_recurrent_policy()
    step = to_tensors(make_step(3, step_type=[StepType.MID, StepType.FIRST, StepType.LAST]))
    state = {"sum": tf.fill([3, 3], 8.0), "steps": tf.constant([5, 6, 7])}
    after = policy.action(step, state).state
    np.testing.assert_array_equal(after["steps"], [6, 1, 8])
    expected = 2.0 * step.observation.numpy() + np.array([[4.0], [0.0], [4.0]], np.float32)
    np.testing.assert_allclose(after["sum"], expected, rtol=1e-6)
    np.testing.assert_array_equal(state["steps"], [5, 6, 7])


def test_state_is_carried_over_first_without_automatic_reset() -> None:
    class Carrier(FixedStepPolicy):
        def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
            return PolicyStep(tf.zeros([2], tf.int64), policy_state, ())

    state_spec = ArraySpec((), np.float32)
    state = tf.constant([3.0, 4.0])
    for resets, expected in ((True, [0.0, 0.0]), (False, [3.0, 4.0])):
        policy = Carrier(PolicyStep(), policy_state_spec=state_spec, automatic_state_reset=resets)
        np.testing.assert_array_equal(policy.action(nested_step(), state).state, expected)


def test_state_of_a_single_step_without_batch_is_reset(make_recurrent_policy: Callable[..., ActorPolicy]) -> None:
    policy = make_recurrent_policy()
    state = {"sum": tf.ones([3]), "steps": tf.constant(4)}
    observation = tf.ones([3])
    assert policy.action(ts.restart(observation), state).state["steps"] == 1
    assert policy.action(ts.transition(observation, 0.0), state).state["steps"] == 5


def test_state_before_several_steps_is_reset_where_the_first_of_them_is_first() -> None:
    class Carrier(TFPolicy):
        def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
            return PolicyStep(tf.zeros([2, 3], tf.int64), policy_state, ())

    # As many steps as the state has elements: a mask [B, T] would fit the state [B, 3], and zero the wrong ones.
    spec = ArraySpec((3,), np.float32)
    action_spec = BoundedArraySpec((), np.int64, 0, 3)
    policy = Carrier(ts.time_step_spec(spec), action_spec, policy_state_spec=spec)
    first, mid = int(StepType.FIRST), int(StepType.MID)
    step = TimeStep(
        tf.constant([[mid, first, mid], [first, mid, mid]]), tf.zeros([2, 3]), tf.ones([2, 3]), tf.zeros([2, 3, 3])
    )
    np.testing.assert_array_equal(policy.action(step, tf.ones([2, 3])).state, [[1.0] * 3, [0.0] * 3])


@settings(max_examples=20)
@given(first=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_single_steps_with_random_first_patterns_equal_a_numpy_reference(
    make_recurrent_policy: Callable[..., ActorPolicy], first: list[list[bool]], seed: int
) -> None:
    policy = make_recurrent_policy()
    observations = np.random.default_rng(seed).normal(size=(len(first), 3, 3)).astype(np.float32)
    state = policy.get_initial_state(3)
    total, steps = np.zeros((3, 3), np.float32), np.zeros(3, np.int32)
    for is_first, observation in zip(np.array(first), observations, strict=True):
        step_type = np.where(is_first, StepType.FIRST, StepType.MID).astype(np.int32)
        time_step = TimeStep(
            tf.constant(step_type), tf.zeros([3]), tf.ones([3]), tf.constant(observation.astype(np.float32))
        )
        answer = policy.action(time_step, state)
        state = answer.state
        total = np.where(is_first[:, np.newaxis], 0.0, total)
        total = 0.5 * total + 2.0 * observation
        steps = np.where(is_first, 0, steps) + 1
        np.testing.assert_allclose(answer.action, total, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(state["steps"], steps)


# Draws.


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_log_probability_of_a_categorical_equals_a_numpy_reference(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any, row_seeds: Any
) -> None:
    policy = make_policy(emit_log_probability=True)
    step = to_tensors(make_step(32))
    answer = policy.action(step, (), tf.constant(row_seeds(32)))
    logits = policy.distribution(step).action.logits_parameter().numpy().astype(np.float64)
    assert np.ptp(logits) > 0.5
    expected = np.take_along_axis(log_softmax(logits), answer.action.numpy()[:, np.newaxis], axis=-1)[:, 0]
    assert answer.info.log_probability.dtype == tf.float32
    np.testing.assert_allclose(answer.info.log_probability, expected, rtol=1e-5)


def test_log_probability_is_of_the_action_before_it_was_clipped(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any, row_seeds: Any
) -> None:
    step = to_tensors(make_step(64))
    seed = tf.constant(row_seeds(64))
    drawn = make_policy(BOX, emit_log_probability=True, clip=False).action(step, (), seed)
    policy = make_policy(BOX, emit_log_probability=True)
    clipped = policy.action(step, (), seed)
    outside = (drawn.action < BOX.minimum) | (drawn.action > BOX.maximum)
    assert np.any(outside)
    np.testing.assert_array_equal(clipped.action, np.clip(drawn.action, BOX.minimum, BOX.maximum))
    np.testing.assert_array_equal(clipped.info.log_probability, drawn.info.log_probability)
    normal = policy.distribution(step).action
    mean, stddev = normal.mean().numpy().astype(np.float64), normal.stddev().numpy().astype(np.float64)
    z = (drawn.action.numpy() - mean) / stddev
    expected = np.sum(-0.5 * z**2 - np.log(stddev) - 0.5 * np.log(2 * np.pi), axis=-1)
    np.testing.assert_allclose(drawn.info.log_probability, expected, rtol=1e-4, atol=1e-5)


def test_integer_actions_are_clipped_too() -> None:
    policy = fixed_policy(tf.constant([-3, 7], tf.int64))
    np.testing.assert_array_equal(policy.action(nested_step()).action, [0, 1])


ROW_SEEDS = np.array([[1, 2], [3, 4], [5, 6]], np.int32)


@pytest.mark.parametrize(
    "seed",
    [tf.constant([3, 4]), tf.constant(ROW_SEEDS), ROW_SEEDS[0], ROW_SEEDS, 17],
    ids=["tensor", "tensor of a row each", "array", "array of a row each", "python int"],
)
def test_same_seed_gives_the_same_action(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any, seed: Any
) -> None:
    policy = make_policy(BOX)
    step = to_tensors(make_step(3))
    first, second = policy.action(step, (), seed), policy.action(step, (), seed)
    np.testing.assert_array_equal(first.action, second.action)
    other = policy.action(step, (), seed + 1)
    assert not np.array_equal(first.action, other.action)


@pytest.mark.parametrize("spec", [BoundedArraySpec((), np.int64, 0, 3), BOX], ids=["categorical", "normal"])
def test_action_of_a_row_depends_on_its_seed_only(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Any,
    row_seeds: Any,
    spec: BoundedArraySpec,
) -> None:
    policy = make_policy(spec)
    step, seeds = make_step(64), row_seeds(64)

    def act(rows: Any) -> np.ndarray:
        part = tf.nest.map_structure(lambda leaf: leaf[rows], step)
        return policy.action(to_tensors(part), (), tf.constant(seeds[rows])).action.numpy()

    whole = act(np.arange(64))
    halves = np.concatenate([act(np.arange(32)), act(np.arange(32, 64))])
    order = np.random.default_rng(1).permutation(64)
    # A product of matrices may round differently with the size of the batch.
    close = np.testing.assert_array_equal if spec.shape == () else np.testing.assert_allclose
    tolerance = {} if spec.shape == () else {"rtol": 1e-5, "atol": 1e-6}
    close(halves, whole, **tolerance)
    close(act(order), whole[order], **tolerance)
    assert len(np.unique(whole, axis=0)) > 1


def test_categorical_draws_have_the_distribution_s_frequencies(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any, row_seeds: Any
) -> None:
    policy = make_policy()
    one = make_step(1)
    num = 20_000
    step = to_tensors(tf.nest.map_structure(lambda leaf: np.repeat(leaf, num, axis=0), one))
    probability = policy.distribution(to_tensors(one)).action.probs_parameter().numpy()[0].astype(np.float64)
    assert probability.min() > 0.05
    assert np.ptp(probability) > 0.1
    # The 0.9999 quantile of chi-square with three degrees of freedom is 21.1.
    for seed in (row_seeds(num), np.array([5, 6], np.int32)):
        counts = np.bincount(policy.action(step, (), tf.constant(seed)).action.numpy(), minlength=4)
        chi_square = np.sum((counts - num * probability) ** 2 / (num * probability))
        assert chi_square < 21.1


def test_normal_draws_have_the_distribution_s_mean_and_deviation(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any, row_seeds: Any
) -> None:
    policy = make_policy(BOX, clip=False)
    one = make_step(1)
    num = 20_000
    step = to_tensors(tf.nest.map_structure(lambda leaf: np.repeat(leaf, num, axis=0), one))
    normal = policy.distribution(to_tensors(one)).action
    mean, stddev = normal.mean().numpy()[0], normal.stddev().numpy()[0]
    z = (policy.action(step, (), tf.constant(row_seeds(num))).action.numpy() - mean) / stddev
    assert np.all(np.abs(z.mean(axis=0)) < 4 / np.sqrt(num))
    assert np.all(np.abs(z.std(axis=0) - 1.0) < 4 / np.sqrt(2 * num))
    assert abs(np.corrcoef(z.T)[0, 1]) < 4 / np.sqrt(num)
    np.testing.assert_allclose(np.mean(np.abs(z) < 1.0, axis=0), 0.6827, atol=0.015)
    np.testing.assert_allclose(np.mean(np.abs(z) < 2.0, axis=0), 0.9545, atol=0.01)


def test_actions_of_a_nest_are_drawn_independently(
    make_step: Callable[..., TimeStep], to_tensors: Any, row_seeds: Any
) -> None:
    policy = TwoHeadedPolicy()
    num = 8_000
    answer = policy.action(to_tensors(make_step(num)), (), tf.constant(row_seeds(num)))
    table = np.zeros((4, 4))
    np.add.at(table, (answer.action["left"].numpy(), answer.action["right"].numpy()), 1)
    # The 0.9999 quantile of chi-square with fifteen degrees of freedom is 44.3.
    assert np.sum((table - num / 16) ** 2 / (num / 16)) < 44.3
    np.testing.assert_allclose(answer.info["log_probability"]["right"], np.log(0.25), rtol=1e-5)
    np.testing.assert_array_equal(answer.info["step"], np.full(num, StepType.MID))


def test_squashed_draws_stay_within_the_bounds_and_have_a_finite_log_probability(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Any, row_seeds: Any
) -> None:
    network = {"continuous_projection_net": TanhNormalProjectionNetwork}
    policy = make_policy(BOX, network=network, clip=False, emit_log_probability=True)
    step = to_tensors(make_step(256))
    answer = policy.action(step, (), tf.constant(row_seeds(256)))
    action = answer.action.numpy()
    assert np.all(action >= BOX.minimum)
    assert np.all(action <= BOX.maximum)
    assert np.ptp(action[:, 1]) > 2.0
    # Change of variables by hand: y = c + h tanh(x), so log p(y) = log N(x) - log(h (1 - tanh(x)^2)).
    normal = policy.distribution(step).action.input_distribution
    mean = normal.mean().numpy().astype(np.float64)
    stddev = normal.stddev().numpy().astype(np.float64)
    center, half = np.array([0.0, 2.0]), np.array([1.0, 2.0])
    tanh = (action - center) / half
    z = (np.arctanh(tanh) - mean) / stddev
    density = -0.5 * z**2 - np.log(stddev) - 0.5 * np.log(2 * np.pi) - np.log(half * (1 - tanh**2))
    inside = np.all(np.abs(tanh) < 0.99, axis=-1)
    assert inside.sum() > 50
    np.testing.assert_allclose(
        answer.info.log_probability.numpy()[inside], density.sum(axis=-1)[inside], rtol=1e-3, atol=1e-3
    )
    assert np.all(np.isfinite(answer.info.log_probability))
