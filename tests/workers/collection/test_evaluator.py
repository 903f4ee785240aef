from __future__ import annotations

from typing import Any

import pytest
from toy_envs import CRASHING, STREAM, episode_length
from toy_policies import ScriptedPolicy, empty_weights, kept, rollout_bytes, scripted_collector

from distpolicy.errors import EnvironmentCrashedError
from workers.collection.evaluator import EVALUATION_STREAM, MAX_SLOTS, Evaluator
from workers.collection.seeding import slot_seeds
from workers.environments.factory import EnvironmentFactory


def make(kwargs: dict[str, Any] | None = None, env_id: str = STREAM) -> Evaluator:
    factory = EnvironmentFactory(env_id, "sync", kwargs or {})
    environment = factory(1)
    return Evaluator(factory, ScriptedPolicy(environment.time_step_spec, environment.action_spec))


def expected_lengths(num_episodes: int, first_episode: int, seed: int, terminate_after: int = 3) -> list[int]:
    seeds = slot_seeds(seed, first_episode, num_episodes, generation=0, stream=EVALUATION_STREAM).environment
    return [episode_length(0, env_seed, terminate_after, 5) for env_seed in seeds]


@pytest.mark.parametrize("terminate_after", [1, 2, 30])
def test_each_episode_is_run_once_with_its_own_seed(terminate_after: int) -> None:
    result = make({"terminate_after": terminate_after}).evaluate(12, first_episode=4, seed=9)
    lengths = expected_lengths(12, 4, 9, terminate_after)
    assert len(set(lengths)) == 3  # short ones and long ones
    assert result.lengths == lengths
    # The reward of the n-th step is n, and an episode that has ended adds nothing more.
    assert result.returns == [length * (length + 1) / 2 for length in lengths]


def test_results_do_not_depend_on_how_episodes_are_shared_out() -> None:
    whole = make().evaluate(6, first_episode=0, seed=1)
    low, high = make().evaluate(3, first_episode=0, seed=1), make().evaluate(3, first_episode=3, seed=1)
    assert whole.returns == low.returns + high.returns
    assert whole.lengths == low.lengths + high.lengths


def test_more_episodes_than_slots_are_each_run_once() -> None:
    num_episodes = MAX_SLOTS + 7
    result = make().evaluate(num_episodes, seed=2)
    assert result.lengths == expected_lengths(num_episodes, 0, 2)


def test_no_episodes_give_an_empty_result() -> None:
    assert make().evaluate(0) == ([], [])


def test_evaluation_seeds_are_not_those_of_training() -> None:
    training = slot_seeds(0, 0, 50, generation=0).environment
    evaluation = slot_seeds(0, 0, 50, generation=0, stream=EVALUATION_STREAM).environment
    assert not set(training) & set(evaluation)


def test_a_collectors_evaluation_leaves_its_rollouts_as_they_were() -> None:
    plain = scripted_collector(EnvironmentFactory(STREAM), num_slots=2, num_steps=4)
    evaluated = scripted_collector(EnvironmentFactory(STREAM), num_slots=2, num_steps=4)
    for _ in range(3):
        expected = rollout_bytes(kept(plain.rollout(empty_weights())[0]))
        assert rollout_bytes(evaluated.rollout(empty_weights())[0]) == expected
        result = evaluated.evaluate(empty_weights(), num_episodes=5, first_episode=0, seed=0)
        assert result.lengths == expected_lengths(5, 0, 0)


def test_a_crash_in_an_evaluation_has_its_cause() -> None:
    seeds = slot_seeds(0, 0, 3, generation=0, stream=EVALUATION_STREAM).environment
    evaluator = make({"seed": seeds[1], "fault": "step", "call": 2}, CRASHING)
    with pytest.raises(EnvironmentCrashedError, match="raised OSError in step: the simulator is gone") as caught:
        evaluator.evaluate(3)
    assert caught.value.slot == 1
    assert "toy_envs.py" in caught.value.traceback


def test_a_crash_in_a_collectors_evaluation_tells_collector_and_seed() -> None:
    seeds = slot_seeds(0, 4, 3, generation=0, stream=EVALUATION_STREAM).environment
    factory = EnvironmentFactory(CRASHING, kwargs={"seed": seeds[1], "fault": "step", "call": 2})
    collector = scripted_collector(factory, num_slots=1, num_steps=1, index=6)
    with pytest.raises(EnvironmentCrashedError) as caught:
        collector.evaluate(empty_weights(), num_episodes=3, first_episode=4, seed=0)
    assert (caught.value.collector, caught.value.seed) == (6, seeds[1])


@pytest.mark.parametrize("fault", ["reward", "observation"])
def test_a_value_that_is_not_finite_is_no_result(fault: str) -> None:
    seeds = slot_seeds(0, 0, 2, generation=0, stream=EVALUATION_STREAM).environment
    evaluator = make({"seed": seeds[1], "fault": fault, "call": 2}, CRASHING)
    with pytest.raises(EnvironmentCrashedError, match=f"NaN or infinity as {fault}"):
        evaluator.evaluate(2)
