from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep

BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")
VECTOR = BoundedArraySpec((3,), np.float32, -10.0, 10.0)


class NumpyNetwork(Network):
    """Sums an observation outside TensorFlow, where XLA cannot follow."""

    def __init__(self, operation: Callable[..., tf.Tensor]) -> None:
        super().__init__(VECTOR)
        self._operation = operation

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        total = self._operation(lambda values: np.asarray(values).sum(-1), [observation], tf.float32)
        return tf.ensure_shape(total, observation.shape[:1]), network_state


class CounterNetwork(Network):
    """Its state, of one tensor, counts the steps of an episode."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(VECTOR, ArraySpec(shape, np.float32))

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        count = network_state + 1.0
        return tf.reduce_max(tf.reshape(count, [tf.shape(observation)[0], -1]), axis=-1), count


class EchoPolicy(TFPolicy):
    """Its info is its inputs as they came, looked at by nothing."""

    def __init__(self) -> None:
        info_spec = {"reward": ArraySpec((), np.float32), "observation": VECTOR, "state": ArraySpec((), np.int32)}
        super().__init__(
            ts.time_step_spec(VECTOR),
            {"b": BoundedArraySpec((), np.int64, 0, 1), "a": BoundedArraySpec((1,), np.float32, 0, 1)},
            policy_state_spec=(ArraySpec((), np.int32),),
            info_spec=info_spec,
            automatic_state_reset=False,
        )

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        num = time_step.reward.shape[0]
        info = {"reward": time_step.reward, "observation": time_step.observation, "state": policy_state[0]}
        return PolicyStep({"b": tf.ones([num], tf.int64), "a": tf.zeros([num, 1])}, policy_state, info)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError


def one(step: TimeStep) -> TimeStep:
    """The first of a batch, without the batch dimension."""
    return tf.nest.map_structure(lambda leaf: leaf[0], step)


def number_policy(network: Network) -> ActorPolicy:
    return ActorPolicy(ts.time_step_spec(VECTOR), BoundedArraySpec((), np.float32, -1e6, 1e6), network)


def test_call_is_traced_once_for_each_batch_size(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = PyTFEagerPolicy(make_policy(), use_tf_function=True, batch_time_steps=False, jit_compile=False)
    seeds = [None, 0, 1, 2, -5, 2**70, np.array([1, 2], np.int32), np.array([3, 4], np.int64), tf.constant([5, 6])]
    for index, seed in enumerate(seeds):
        step_type = [StepType.FIRST, StepType.MID, StepType.LAST][index % 3]
        policy.action(make_step(4, seed=index, step_type=step_type), (), seed)
    assert policy.tracing_count == 1
    for index in range(3):
        policy.action(make_step(5, seed=index), (), index)
    assert policy.tracing_count == 2


def test_seeds_of_each_row_are_traced_once(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], row_seeds: Any
) -> None:
    policy = PyTFEagerPolicy(make_policy(), use_tf_function=True, batch_time_steps=False, jit_compile=False)
    for counter in range(3):
        policy.action(make_step(4), (), row_seeds(4, counter))
    assert policy.tracing_count == 1


def test_integer_seed_may_be_a_numpy_scalar(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = PyTFEagerPolicy(make_policy(BOX), batch_time_steps=False)
    expected = policy.action(make_step(4), (), 5).action
    np.testing.assert_array_equal(policy.action(make_step(4), (), np.int64(5)).action, expected)


def test_all_bits_of_an_integer_seed_count(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = PyTFEagerPolicy(make_policy(BOX), batch_time_steps=False)
    seeds = (1, 2, 1 + 2**20, 1 + 2**32, 1 + 2**63, -1)
    assert len({policy.action(make_step(4), (), seed).action.tobytes() for seed in seeds}) == len(seeds)


@pytest.mark.parametrize("spec", [BoundedArraySpec((), np.int64, 0, 3), BOX], ids=["categorical", "normal"])
def test_compiled_or_not_the_same_seed_gives_the_same_action(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    row_seeds: Any,
    spec: BoundedArraySpec,
) -> None:
    inner = make_policy(spec, emit_log_probability=True)
    step = make_step(32)
    eager = PyTFEagerPolicy(inner, batch_time_steps=False)
    function = PyTFEagerPolicy(inner, use_tf_function=True, batch_time_steps=False, jit_compile=False)
    for seed in (7, np.array([1, 2], np.int32), row_seeds(32)):
        left, right = eager.action(step, (), seed), function.action(step, (), seed)
        assert isinstance(left.action, np.ndarray)
        assert isinstance(right.action, np.ndarray)
        assert left.action.dtype == right.action.dtype == spec.dtype
        assert len(np.unique(left.action)) > 1
        np.testing.assert_allclose(left.action, right.action, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(left.info.log_probability, right.info.log_probability, rtol=1e-4, atol=1e-5)
    # XLA draws the numbers of a single seed by another generator; those of each row are ours.
    compiled = PyTFEagerPolicy(inner, use_tf_function=True, batch_time_steps=False, jit_compile=True)
    result = compiled.action(step, (), row_seeds(32))
    assert compiled.jit_compiled
    np.testing.assert_allclose(result.action, eager.action(step, (), row_seeds(32)).action, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("use_tf_function", [False, True])
def test_calls_without_a_seed_draw_anew_from_the_policy_s_own(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], use_tf_function: bool
) -> None:
    inner, step = make_policy(BOX), make_step(8)

    def three(seed: int) -> np.ndarray:
        policy = PyTFEagerPolicy(inner, use_tf_function, batch_time_steps=False, jit_compile=False, seed=seed)
        return np.stack([policy.action(step).action for _ in range(3)])

    drawn = three(1)
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(three(1), drawn)
    assert not np.array_equal(three(2), drawn)


@pytest.mark.parametrize("use_tf_function", [False, True])
def test_batch_dimension_is_added_and_taken_away(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], use_tf_function: bool
) -> None:
    inner, step = make_policy(BOX, emit_log_probability=True), make_step(1)
    single = PyTFEagerPolicy(inner, use_tf_function, jit_compile=False).action(one(step), (), 3)
    batch = PyTFEagerPolicy(inner, use_tf_function, batch_time_steps=False, jit_compile=False).action(step, (), 3)
    assert single.action.shape == (2,)
    assert single.info.log_probability.shape == ()
    np.testing.assert_array_equal(single.action, batch.action[0])
    assert single.action.dtype == np.float32


@pytest.mark.parametrize("use_tf_function", [False, True])
def test_initial_state_without_a_batch_size_can_be_acted_with(
    make_recurrent_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], use_tf_function: bool
) -> None:
    policy = PyTFEagerPolicy(make_recurrent_policy(), use_tf_function, jit_compile=False)
    state = policy.get_initial_state()
    total = np.zeros(3)
    for index in range(4):
        step = one(make_step(1, seed=index))
        answer = policy.action(step, state)
        state = answer.state
        total = 0.5 * total + 2.0 * step.observation
        np.testing.assert_allclose(answer.action, total, rtol=1e-5)
    assert state["steps"].numpy().tolist() == [4]
    assert policy.tracing_count == int(use_tf_function)


@settings(max_examples=15)
@given(first=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=6))
def test_compiled_single_steps_with_random_first_patterns_equal_a_numpy_reference(
    compiled_recurrent_policy: PyTFEagerPolicy, make_step: Callable[..., TimeStep], first: list[list[bool]]
) -> None:
    policy = compiled_recurrent_policy
    state = policy.get_initial_state(3)
    total = np.zeros((3, 3))
    for index, is_first in enumerate(np.array(first)):
        step = make_step(3, seed=index, step_type=np.where(is_first, StepType.FIRST, StepType.MID))
        answer = policy.action(step, state)
        state = answer.state
        total = np.where(is_first[:, np.newaxis], 0.0, 0.5 * total) + 2.0 * step.observation
        np.testing.assert_allclose(answer.action, total, rtol=1e-4, atol=1e-5)
    assert policy.tracing_count == 1


@pytest.fixture(scope="module")
def compiled_recurrent_policy(make_recurrent_policy: Callable[..., ActorPolicy]) -> PyTFEagerPolicy:
    return PyTFEagerPolicy(make_recurrent_policy(), use_tf_function=True, batch_time_steps=False, jit_compile=False)


@pytest.mark.parametrize("use_tf_function", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (2,)])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_state_of_one_array_of_any_shape_is_taken(
    make_step: Callable[..., TimeStep], use_tf_function: bool, shape: tuple[int, ...], batch_size: int
) -> None:
    policy = PyTFEagerPolicy(
        number_policy(CounterNetwork(shape)), use_tf_function, batch_time_steps=False, jit_compile=False
    )
    # Arrays, as rollouts store the state, and then the tensors that the policy returned.
    state = np.full((batch_size, *shape), 4.0, np.float32)
    answer = policy.action(make_step(batch_size), state)
    np.testing.assert_array_equal(answer.action, np.full(batch_size, 5.0))
    answer = policy.action(make_step(batch_size), answer.state)
    np.testing.assert_array_equal(answer.action, np.full(batch_size, 6.0))
    assert policy.tracing_count == int(use_tf_function)


def test_stateful_policy_without_a_state_is_an_error(
    make_recurrent_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    for use_tf_function in (False, True):
        policy = PyTFEagerPolicy(make_recurrent_policy(), use_tf_function, batch_time_steps=False, jit_compile=False)
        with pytest.raises(ValueError, match="stateful"):
            policy.action(make_step(2))


@pytest.mark.parametrize("operation", [tf.numpy_function, tf.py_function])
def test_policy_that_xla_cannot_compile_falls_back(
    make_step: Callable[..., TimeStep], operation: Callable[..., tf.Tensor]
) -> None:
    policy = PyTFEagerPolicy(number_policy(NumpyNetwork(operation)), use_tf_function=True, batch_time_steps=False)
    assert not policy.jit_compiled
    for index in range(3):
        step = make_step(4, seed=index)
        np.testing.assert_allclose(policy.action(step).action, step.observation.sum(-1), rtol=1e-5)
    assert not policy.jit_compiled
    assert policy.tracing_count == 1


def test_policy_that_xla_can_compile_is_compiled_by_default(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = PyTFEagerPolicy(make_policy(), use_tf_function=True, batch_time_steps=False)
    policy.action(make_step(2), (), 1)
    assert policy.jit_compiled
    assert policy.tracing_count == 1
    eager = PyTFEagerPolicy(make_policy(), batch_time_steps=False)
    eager.action(make_step(2), (), 1)
    assert not eager.jit_compiled
    assert eager.tracing_count == 0


@pytest.mark.parametrize("use_tf_function", [False, True])
def test_inputs_that_nothing_looks_at_still_come_through(
    make_step: Callable[..., TimeStep], use_tf_function: bool
) -> None:
    policy = PyTFEagerPolicy(EchoPolicy(), use_tf_function, batch_time_steps=False, jit_compile=False)
    for index in range(3):
        step = make_step(2, seed=index)
        answer = policy.action(step, (np.array([index, 5], np.int32),))
        assert set(answer.action) == {"a", "b"}
        np.testing.assert_array_equal(answer.action["b"], [1, 1])
        np.testing.assert_array_equal(answer.info["reward"], step.reward)
        np.testing.assert_array_equal(answer.info["observation"], step.observation)
        np.testing.assert_array_equal(answer.info["state"], [index, 5])
        np.testing.assert_array_equal(answer.state[0], [index, 5])


def test_new_weights_hold_without_another_trace(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    first, second = make_policy(BOX, weights_seed=1), make_policy(BOX, weights_seed=2)
    policy = PyTFEagerPolicy(first, use_tf_function=True, batch_time_steps=False, jit_compile=False)
    expected = PyTFEagerPolicy(second, batch_time_steps=False).action(make_step(4), (), 3).action
    assert not np.allclose(policy.action(make_step(4), (), 3).action, expected)
    policy.update(second)
    np.testing.assert_allclose(policy.action(make_step(4), (), 3).action, expected, rtol=1e-5, atol=1e-6)
    assert policy.tracing_count == 1


def test_specs_are_array_specs(make_recurrent_policy: Callable[..., ActorPolicy]) -> None:
    policy = PyTFEagerPolicy(make_recurrent_policy())
    assert policy.time_step_spec == ts.time_step_spec(VECTOR)
    assert policy.action_spec == BoundedArraySpec((3,), np.float32, -1e6, 1e6)
    assert policy.policy_state_spec == {"sum": ArraySpec((3,), np.float32), "steps": ArraySpec((), np.int32)}
    assert policy.info_spec == ()


def test_variables_are_copies(make_policy: Callable[..., ActorPolicy]) -> None:
    policy = PyTFEagerPolicy(make_policy())
    copies = policy.variables()
    kept = copies[0].copy()
    policy.policy.variables()[0].assign_add(tf.ones_like(policy.policy.variables()[0]))
    np.testing.assert_array_equal(copies[0], kept)
    assert [item.path for item in policy.named_variables()] == [item.path for item in policy.policy.named_variables()]
