from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from evaluation_envs import Counted
from toy_envs import CRASHING, STREAM, episode_length
from toy_policies import ScriptedPolicy, empty_weights, kept, rollout_bytes, scripted_collector

from distpolicy.errors import EnvironmentCrashedError
from workers.collection.evaluator import EVALUATION_STREAM, EvaluationJob, EvaluationResult, Evaluator
from workers.collection.seeding import slot_seeds
from workers.environments.base import Environment
from workers.environments.factory import EnvironmentFactory
from workers.restart_budget import RestartBudgetConfig


def make(kwargs: dict[str, Any] | None = None, env_id: str = STREAM, **options: Any) -> Evaluator:
    factory = EnvironmentFactory(
        env_id, options.pop("vectorization", "sync"), kwargs or {}, restarts=RestartBudgetConfig(backoff_s=0.0)
    )
    environment = factory(1)
    policy = ScriptedPolicy(environment.time_step_spec, environment.action_spec)
    environment.close()
    return Evaluator(factory, policy, **options)


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


@pytest.mark.parametrize("num_envs", [1, 3, 11, 40])
@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_the_number_of_environments_does_not_change_the_result(num_envs: int, vectorization: str) -> None:
    result = make(num_envs=num_envs, vectorization=vectorization).evaluate(11, seed=2)
    assert result.lengths == expected_lengths(11, 0, 2)


def test_no_episodes_give_an_empty_result() -> None:
    assert make().evaluate(0) == EvaluationResult()


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
        result = evaluated.evaluate(empty_weights(), EvaluationJob(5))
        assert result.lengths == expected_lengths(5, 0, 0)


def test_an_episode_without_end_is_ended_at_the_limit_and_counted_as_cut() -> None:
    result = make(env_id="evaluation_envs:Endless", num_envs=3, max_episode_steps=20).evaluate(7)
    assert (result.lengths, result.returns, result.num_cut) == ([20] * 7, [20.0] * 7, 7)
    # An episode that ends right at the limit is whole.
    assert make(env_id="evaluation_envs:Base", max_episode_steps=10).evaluate(3).num_cut == 0


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_an_episode_whose_environment_fails_is_played_again(vectorization: str) -> None:
    result = make(env_id="evaluation_envs:FailsRarely", vectorization=vectorization, num_envs=4).evaluate(30, seed=1)
    assert result.lengths == [10] * 30
    assert 0 < result.num_repeated < 30
    first = slot_seeds(1, 0, 30, generation=0, stream=EVALUATION_STREAM).environment
    assert 0 < sum(np.not_equal(result.seeds, first)) <= result.num_repeated


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_an_environment_is_replaced_when_it_returns_nan(vectorization: str) -> None:
    result = make(env_id="evaluation_envs:SoundOnlyOnce", vectorization=vectorization, num_envs=3).evaluate(7)
    # The first three episodes use the environments up; each of the others needs a new one.
    assert (result.lengths, result.num_repeated) == ([10] * 7, 4)


def test_an_environment_whose_episodes_are_over_is_not_stepped_again() -> None:
    # As many environments as episodes: a second episode would return NaN.
    assert make(env_id="evaluation_envs:SoundOnlyOnce", num_envs=5).evaluate(5).num_repeated == 0


def test_one_environment_is_enough() -> None:
    Counted.most = Counted.now = 0
    result = make(env_id="evaluation_envs:Counted", num_envs=1).evaluate(4)
    assert (result.lengths, Counted.most, Counted.now) == ([10] * 4, 1, 0)


def test_a_last_evaluation_uses_the_environments_of_the_rollouts() -> None:
    Counted.most = Counted.now = 0
    factory = EnvironmentFactory("evaluation_envs:Counted", "sync")
    collector = scripted_collector(factory, num_slots=2, num_steps=4)
    collector.rollout(empty_weights())
    for _ in range(2):
        result = collector.evaluate(empty_weights(), EvaluationJob(5, is_last=True))
        assert (result.lengths, Counted.most) == ([10] * 5, 2)
    # While rollouts follow, they keep their environments.
    Counted.most = Counted.now = 0
    collector = scripted_collector(factory, num_slots=2, num_steps=4)
    collector.evaluate(empty_weights(), EvaluationJob(5, num_envs=1))
    assert (Counted.most, Counted.now) == (3, 2)


def test_numbers_of_the_last_info_are_in_the_result() -> None:
    result = make(env_id="evaluation_envs:Informs", num_envs=3).evaluate(40)
    assert [set(info) for info in result.infos] == [{"is_success", "distance", "step"}] * 40
    means = result.info_means
    assert (means["distance"], means["step"]) == (2.5, 10.0)
    assert means["is_success"] == np.mean([info["is_success"] for info in result.infos])
    assert 0.2 < means["is_success"] < 0.8


def test_a_crash_that_comes_again_and_again_has_its_cause() -> None:
    evaluator = make(env_id="evaluation_envs:FailsAlways")
    with pytest.raises(
        EnvironmentCrashedError, match="raised OSError in step: simulator gone; it was replaced"
    ) as error:
        evaluator.evaluate(1)
    assert "(in an evaluation)" in str(error.value)
    assert (error.value.slot, error.value.step) == (0, 2)
    assert "evaluation_envs.py" in error.value.traceback


def test_a_crash_in_a_collectors_evaluation_tells_collector_and_seed() -> None:
    seeds = slot_seeds(0, 4, 3, generation=0, stream=EVALUATION_STREAM).environment
    factory = EnvironmentFactory(
        "evaluation_envs:FailsAlways", "sync", restarts=RestartBudgetConfig(max_restarts=0, backoff_s=0.0)
    )
    collector = scripted_collector(factory, num_slots=1, num_steps=1, index=6)
    with pytest.raises(EnvironmentCrashedError) as caught:
        collector.evaluate(empty_weights(), EvaluationJob(3, first_episode=4))
    assert (caught.value.collector, caught.value.seed) == (6, seeds[0])


@pytest.mark.parametrize("fault", ["reward", "observation"])
def test_a_value_that_is_not_finite_is_not_a_result(fault: str) -> None:
    seeds = slot_seeds(0, 0, 2, generation=0, stream=EVALUATION_STREAM).environment
    expected = expected_lengths(2, 0, 0, terminate_after=3)
    # The episode with this seed returns such a value, and is played again with another seed.
    result = make({"seed": seeds[1], "fault": fault, "call": 2}, CRASHING).evaluate(2)
    assert result.num_repeated == 1
    assert np.isfinite(result.returns).all()
    assert len(result.returns) == len(expected)


def test_making_environments_does_not_count_as_a_step_that_hangs() -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def watch() -> Iterator[None]:
        events.append("watched")
        yield
        events.append("not watched")

    factory = EnvironmentFactory("evaluation_envs:Base", "sync")
    environment = factory(1)

    def made(num_slots: int) -> Environment:
        events.append("made")
        return factory(num_slots)

    policy = ScriptedPolicy(environment.time_step_spec, environment.action_spec)
    assert len(Evaluator(made, policy, num_envs=2).evaluate(3, watch=watch()).returns) == 3
    assert events == ["made", "watched", "not watched"]
