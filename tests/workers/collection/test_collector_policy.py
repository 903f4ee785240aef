"""Collectors with the policies that a run builds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from toy_envs import SHIFTED_ACTION
from toy_policies import kept, rollout_bytes

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import SpecMismatchError, StaleWeightsError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.time_step import StepType, restart
from distpolicy.weights import Weights, WeightsPacker, checksum
from launch.config.train import TrainConfig
from launch.training.factories import PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.collection.evaluator import EvaluationJob
from workers.environments.factory import EnvironmentFactory
from workers.experience.on_policy import merge_rollouts

NUM_STEPS, NUM_ROLLOUTS = 40, 3
NETWORK = NetworkConfig(actor_units=(8,))
CONFIG = TrainConfig(network=NETWORK, agent=PPOConfig(value_units=(8,), normalize_observations=True))
CARTPOLE = EnvironmentFactory("CartPole-v1", "sync")

MakeCollector = Callable[..., Collector]


def make(environment: EnvironmentFactory = CARTPOLE, config: TrainConfig = CONFIG, **settings: Any) -> Collector:
    settings = {"index": 0, "first_slot": 0, "num_slots": 2, "num_steps": NUM_STEPS, "seed": 0, **settings}
    return Collector(CollectorConfig(**settings), environment, PolicyFactory(config))


def packed(collector: Collector, version: int = 0) -> Weights:
    """The weights that the collector's policy was built with."""
    return WeightsPacker(collector._policy).pack(0, version)


def zeroed(weights: Weights, version: int) -> Weights:
    buffers = {dtype: np.zeros_like(buffer) for dtype, buffer in weights.buffers.items()}
    return Weights(weights.generation, version, weights.layout, buffers, checksum(buffers.values()))


def collect(collector: Collector, weights: Weights) -> list[Any]:
    return [kept(collector.rollout(weights)[0]) for _ in range(NUM_ROLLOUTS)]


@pytest.fixture(scope="module")
def low() -> Collector:
    return make()


@pytest.fixture(scope="module")
def weights(low: Collector) -> Weights:
    return packed(low)


@pytest.fixture(scope="module")
def low_rollouts(low: Collector, weights: Weights) -> list[Any]:
    return collect(low, weights)


def test_data_does_not_depend_on_how_slots_are_spread(low_rollouts: list[Any], weights: Weights) -> None:
    together = collect(make(num_slots=4), weights)
    high = collect(make(index=1, first_slot=2), weights)
    assert len(np.unique(together[0].action)) == 2
    for whole, *parts in zip(together, low_rollouts, high, strict=True):
        assert rollout_bytes(merge_rollouts(tuple(parts))) == rollout_bytes(whole)


def test_two_runs_of_one_seed_are_byte_equal(low_rollouts: list[Any], weights: Weights) -> None:
    again = collect(make(), weights)
    assert [rollout_bytes(rollout) for rollout in again] == [rollout_bytes(rollout) for rollout in low_rollouts]


@pytest.mark.parametrize("change", [{"seed": 1}, {"generation": 1}])
def test_another_seed_or_generation_gives_other_data(
    change: dict[str, int], low_rollouts: list[Any], weights: Weights
) -> None:
    (other, *_) = collect(make(**change), weights)
    assert (other.observation[:, 0] != low_rollouts[0].observation[:, 0]).any()
    assert (other.action != low_rollouts[0].action).any()


def test_actions_are_drawn_anew_at_each_step_and_rollout(low_rollouts: list[Any]) -> None:
    actions = np.concatenate([rollout.action for rollout in low_rollouts], axis=1)
    assert 0.2 < actions.mean() < 0.8
    assert (actions[:, :NUM_STEPS] != actions[:, NUM_STEPS : 2 * NUM_STEPS]).any()
    assert (actions[0] != actions[1]).any()


def test_log_probability_is_that_of_the_stored_action(low: Collector, low_rollouts: list[Any]) -> None:
    import tensorflow as tf

    rollout = low_rollouts[1]
    policy = low._policy.policy
    steps = restart(tf.constant(rollout.observation[:, :-1].reshape(-1, 4)), batch_size=rollout.action.size)
    expected = policy.distribution(steps).action.log_prob(rollout.action.reshape(-1)).numpy()
    np.testing.assert_allclose(rollout.policy_info.log_probability.reshape(-1), expected, atol=1e-5)


def test_policy_is_compiled_once_over_many_rollouts(low: Collector, low_rollouts: list[Any]) -> None:
    assert len(low_rollouts) == NUM_ROLLOUTS
    assert low._policy.tracing_count == 1


@pytest.mark.parametrize("first_slot", [0, 2])
def test_zeroed_weights_give_the_zero_weight_action_on_every_collector(first_slot: int, weights: Weights) -> None:
    collector = make(first_slot=first_slot, index=first_slot)
    before = kept(collector.rollout(weights)[0])
    assert (np.abs(before.policy_info.log_probability + math.log(2)) > 1e-6).any()
    acknowledgement = collector.apply_weights(zeroed(weights, version=1))
    assert acknowledgement == (f"collector {first_slot}", 0, 1, True)
    after, report = collector.rollout(zeroed(weights, version=1))
    assert not report.weights.applied  # they were, before the rollout
    np.testing.assert_allclose(after.policy_info.log_probability, -math.log(2), rtol=1e-6)
    assert after.weights_version.tolist() == [[0, 1]] * 2
    for item in collector._policy.named_variables():
        assert not item.variable.numpy().any(), item.path


def test_zeroed_weights_take_the_greedy_policy_along(weights: Weights) -> None:
    collector = make()
    greedy = collector._policies.greedy()
    collector.apply_weights(zeroed(weights, version=1))
    assert [item.path for item in greedy.named_variables()]
    assert not any(item.variable.numpy().any() for item in greedy.named_variables())


def test_tau_blends_the_weights(weights: Weights) -> None:
    collector = make()
    before = [value.copy() for value in collector._policy.variables()]
    collector.apply_weights(zeroed(weights, version=1), tau=0.25)
    for item, value in zip(collector._policy.named_variables(), before, strict=True):
        if item.variable.dtype.is_floating:
            np.testing.assert_allclose(item.variable.numpy(), 0.75 * value, rtol=1e-6)


def test_older_weights_leave_the_policy_as_it_is(weights: Weights) -> None:
    collector = make()
    newer = zeroed(weights, version=2)
    collector.apply_weights(newer)
    with pytest.raises(
        StaleWeightsError, match=r"collector 0 holds weights \(0, 2\) and was offered the older \(0, 0\)"
    ):
        collector.rollout(weights)
    assert not any(value.any() for value in collector._policy.variables())


def test_weights_of_another_network_are_refused_by_the_name_of_the_variable(weights: Weights) -> None:
    other = make(config=TrainConfig(network=NetworkConfig(actor_units=(9,)), agent=CONFIG.agent))
    before = [value.copy() for value in other._policy.variables()]
    with pytest.raises(SpecMismatchError, match=r"collector 0: variable .*kernel.* of shape \(4, 9\).*\(4, 8\)"):
        other.rollout(weights)
    for value, old in zip(other._policy.variables(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_damaged_weights_are_refused(weights: Weights) -> None:
    buffers = {dtype: buffer.copy() for dtype, buffer in weights.buffers.items()}
    next(iter(buffers.values()))[0] += 1
    with pytest.raises(SpecMismatchError, match="checksum"):
        make().rollout(Weights(0, 1, weights.layout, buffers, weights.checksum))


def test_evaluation_does_not_depend_on_how_episodes_are_shared_out(low: Collector, weights: Weights) -> None:
    whole, low_half, high_half = (
        make(first_slot=slot).evaluate(weights, EvaluationJob(count, first, seed=5))
        for slot, count, first in ((0, 6, 0), (0, 3, 0), (2, 3, 3))
    )
    assert whole.returns == low_half.returns + high_half.returns
    assert whole.lengths == low_half.lengths + high_half.lengths
    assert whole.returns == [float(length) for length in whole.lengths]
    assert len(set(whole.returns)) > 1


@pytest.fixture(scope="module")
def shifted() -> Iterator[Collector]:
    collector = make(EnvironmentFactory(SHIFTED_ACTION), num_slots=4)
    yield collector
    collector.close()


def test_discrete_actions_that_begin_above_zero_are_all_drawn_and_reach_the_env(shifted: Collector) -> None:
    rollout, _ = shifted.rollout(packed(shifted))
    assert sorted(np.unique(rollout.action)) == [5, 6, 7]
    acted = rollout.step_type[:, :-1] != StepType.LAST
    np.testing.assert_array_equal(rollout.reward[acted], rollout.action[acted])


def test_zeroed_weights_give_the_lowest_discrete_action_greedily(shifted: Collector) -> None:
    zero = zeroed(packed(shifted), version=1)
    assert shifted.evaluate(zero, EvaluationJob(3)).returns == [20.0] * 3


def test_continuous_actions_are_clipped_for_the_env_and_stored_as_drawn() -> None:
    collector = make(EnvironmentFactory("Pendulum-v1"), num_slots=2, num_steps=100)
    rollout, _ = collector.rollout(packed(collector))
    assert np.abs(rollout.action).max() > 2.0
    # Pendulum's reward tells the torque that it got: theta ** 2 + 0.1 * theta_dot ** 2 + 0.001 * torque ** 2.
    cos, sin, speed = np.moveaxis(rollout.observation[:, :-1], 2, 0)
    angle = np.arctan2(sin, cos)
    torque = np.clip(rollout.action[..., 0], -2.0, 2.0)
    np.testing.assert_allclose(rollout.reward, -(angle**2 + 0.1 * speed**2 + 0.001 * torque**2), atol=1e-4)
