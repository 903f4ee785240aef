from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from counting_env import CountingEnv

from distpolicy.environments import utils, wrappers
from distpolicy.environments.batched_py_environment import BatchedPyEnvironment
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.environments.random_py_environment import RandomPyEnvironment
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec


def kinds(env: PyEnvironment, num_steps: int) -> list[int]:
    return [int(env.step(np.int32(1)).step_type) for _ in range(num_steps)]


def test_a_wrapper_passes_everything_on() -> None:
    inner = CountingEnv()
    env = wrappers.PyEnvironmentBaseWrapper(inner)
    utils.validate_py_environment(env, episodes=2)
    assert env.wrapped_env() is inner
    assert env.time_step_spec() == inner.time_step_spec()
    assert env.length == 3
    assert env.get_info() == {"count": 0}
    assert env.render().shape == (2, 2, 3)
    assert (env.batched, env.batch_size) == (False, None)
    env.set_state(2)
    assert env.get_state() == 2
    env.close()
    assert inner.closed


def test_a_time_limit_truncates() -> None:
    env = wrappers.TimeLimit(CountingEnv(9), 3)
    assert env.duration == 3
    assert kinds(env, 8) == [0, 1, 1, 2, 0, 1, 1, 2]
    assert float(env.current_time_step().discount) == 0.5
    # An episode that ends before the limit begins the next one's count.
    assert kinds(wrappers.TimeLimit(CountingEnv(2), 3), 7) == [0, 1, 2, 0, 1, 2, 0]
    env = wrappers.TimeLimit(CountingEnv(9), 2)
    env.reset()
    assert kinds(env, 1) == [1]
    env.reset()
    assert kinds(env, 2) == [1, 2]


def test_repeated_actions_add_their_rewards_until_the_episode_ends() -> None:
    env = wrappers.ActionRepeat(CountingEnv(5), 3)
    env.reset()
    assert float(env.step(2).reward) == 6.0
    last = env.step(2)
    assert (float(last.reward), int(last.step_type), last.reward.dtype) == (4.0, 2, np.float32)
    assert int(env.step(2).step_type) == 0
    np.testing.assert_array_equal(env.current_time_step().observation, [0.0])
    with pytest.raises(ValueError, match="2 or more"):
        wrappers.ActionRepeat(CountingEnv(), 1)


def test_run_stats_count() -> None:
    env = wrappers.RunStats(CountingEnv(3))
    kinds(env, 6)
    assert (env.episodes, env.resets, env.episode_steps, env.total_steps) == (1, 2, 1, 4)


def test_the_profiler_hands_over_a_profile_per_number_of_steps() -> None:
    profiles: list[Any] = []
    env = wrappers.PerformanceProfiler(CountingEnv(9), profiles.append, 2)
    env.reset()
    kinds(env, 5)
    assert len(profiles) == 2
    assert profiles[0] is not profiles[1]
    assert any("_step" in str(entry.code) for entry in profiles[0].getstats())


@pytest.mark.parametrize("make", [lambda env: wrappers.TimeLimit(env, 2), wrappers.RunStats, wrappers.HistoryWrapper])
def test_wrappers_that_count_refuse_a_batch(make: Any) -> None:
    with pytest.raises(ValueError, match="wrap each"):
        make(BatchedPyEnvironment([CountingEnv(), CountingEnv()]))


def recorded(action_spec: Any) -> tuple[PyEnvironment, list[Any]]:
    """An environment, and the actions that reach it."""
    actions: list[Any] = []

    class Recording(CountingEnv):
        def action_spec(self) -> Any:
            return action_spec

        def _step(self, action: Any) -> Any:
            actions.append(action)
            return super()._step(0)

    return Recording(99), actions


def test_a_discretised_action_takes_evenly_spaced_values() -> None:
    inner, actions = recorded(BoundedArraySpec((2,), np.float32, [-1, 0], [1, 4]))
    env = wrappers.ActionDiscretizeWrapper(inner, np.array([3, 5]))
    np.testing.assert_array_equal(env.action_spec().maximum, [2, 4])
    env.reset()
    env.step(np.array([0, 1], np.int32))
    env.step(np.array([2, 4], np.int32))
    np.testing.assert_allclose(actions, [[-1, 1], [1, 4]])
    assert actions[0].dtype == np.float32
    with pytest.raises(ValueError, match="shape"):
        env.step(np.int32(1))
    with pytest.raises(ValueError, match="num_actions"):
        wrappers.ActionDiscretizeWrapper(inner, 1)


def test_an_action_of_one_element_becomes_a_scalar() -> None:
    inner, actions = recorded({"push": BoundedArraySpec((1,), np.float32, -2, 2)})
    env = wrappers.ActionDiscretizeWrapper(inner, 5)
    assert env.action_spec() == BoundedArraySpec((), np.int32, 0, 4)
    env.reset()
    env.step(np.int32(4))
    np.testing.assert_array_equal(actions[0]["push"], [2.0])


def test_actions_are_clipped() -> None:
    inner, actions = recorded((BoundedArraySpec((2,), np.float32, -1, 1), ArraySpec((), np.float32)))
    env = wrappers.ActionClipWrapper(inner)
    env.reset()
    env.step((np.array([-3, 0.5], np.float32), np.float32(7)))
    np.testing.assert_array_equal(actions[0][0], [-1, 0.5])
    assert actions[0][1] == 7


def test_an_offset_lets_actions_begin_at_zero() -> None:
    inner, actions = recorded(BoundedArraySpec((), np.int64, -2, 3))
    env = wrappers.ActionOffsetWrapper(inner)
    assert env.action_spec() == BoundedArraySpec((), np.int64, 0, 5)
    env.reset()
    env.step(np.int64(0))
    env.step(np.int64(5))
    assert actions == [-2, 3]
    for spec in ((BoundedArraySpec((), np.int64, 0, 1),), BoundedArraySpec((), np.float32, 0, 1)):
        with pytest.raises(ValueError, match="one bounded discrete action"):
            wrappers.ActionOffsetWrapper(recorded(spec)[0])


def test_one_hot_actions_become_numbers() -> None:
    inner, actions = recorded({"turn": BoundedArraySpec((), np.int32, 1, 3), "speed": ArraySpec((), np.float32)})
    env = wrappers.OneHotActionWrapper(inner)
    assert env.action_spec()["turn"] == BoundedArraySpec((3,), np.int32, 0, 1)
    env.reset()
    env.step({"turn": np.array([0, 0, 1], np.int32), "speed": np.float32(0.5)})
    assert actions == [{"turn": 3, "speed": 0.5}]
    with pytest.raises(ValueError, match="must match"):
        env.step({"turn": np.array([0, 1], np.int32), "speed": np.float32(0.5)})


def test_elements_of_an_observation_are_picked() -> None:
    spec = BoundedArraySpec((4,), np.float32, -1, 1)
    plain, env = RandomPyEnvironment(spec), wrappers.ObservationFilterWrapper(RandomPyEnvironment(spec), [2, 0])
    np.testing.assert_array_equal(env.reset().observation, plain.reset().observation[[2, 0]])
    utils.validate_py_environment(env, episodes=1)
    for idx, message in (([4], "below 4"), ([], "vector"), ([[1]], "vector")):
        with pytest.raises(ValueError, match=message):
            wrappers.ObservationFilterWrapper(plain, idx)
    with pytest.raises(ValueError, match="vectors"):
        wrappers.ObservationFilterWrapper(RandomPyEnvironment([spec]), [0])


def test_observations_are_joined() -> None:
    specs = {"b": ArraySpec((2, 2), np.float32), "a": ArraySpec((), np.float32)}
    plain = RandomPyEnvironment(specs, batch_size=3).reset().observation
    env = wrappers.FlattenObservationsWrapper(RandomPyEnvironment(specs, batch_size=3))
    joined = env.reset().observation
    assert env.observation_spec().shape == (5,)
    np.testing.assert_array_equal(joined, np.concatenate([plain["a"][:, None], plain["b"].reshape(3, 4)], axis=1))
    only = wrappers.FlattenObservationsWrapper(RandomPyEnvironment(specs), observations_allowlist=["a"])
    assert only.reset().observation.shape == (1,)
    utils.validate_py_environment(only, episodes=1)
    with pytest.raises(ValueError, match="no c"):
        wrappers.FlattenObservationsWrapper(RandomPyEnvironment(specs), ["c"])
    with pytest.raises(ValueError, match="one dtype"):
        wrappers.FlattenObservationsWrapper(RandomPyEnvironment({**specs, "c": ArraySpec((), np.int32)}))


@pytest.mark.parametrize(("tile", "before"), [(False, 0.0), (True, 10.0)])
def test_a_history_holds_the_last_observations_and_actions(tile: bool, before: float) -> None:
    env = wrappers.HistoryWrapper(CountingEnv(3, start=10), 3, include_actions=True, tile_first_step_obs=tile)
    first = env.reset().observation
    np.testing.assert_array_equal(first["observation"][:, 0], [before, before, 10])
    np.testing.assert_array_equal(first["action"], [0, 0, 0])
    env.step(np.int32(4))
    second = env.step(np.int32(5)).observation
    np.testing.assert_array_equal(second["observation"][:, 0], [10, 11, 12])
    np.testing.assert_array_equal(second["action"], [0, 4, 5])
    env.step(np.int32(5))
    again = env.step(np.int32(5))
    assert again.is_first()
    np.testing.assert_array_equal(again.observation["observation"][:, 0], [before, before, 10])
    np.testing.assert_array_equal(again.observation["action"], [0, 0, 0])
    utils.validate_py_environment(wrappers.HistoryWrapper(CountingEnv(), 2), episodes=2)


def test_goals_are_added_to_time_steps() -> None:
    class Goals(wrappers.GoalReplayEnvWrapper):
        def get_trajectory_with_goal(self, trajectory: Any, goal: Any) -> Any:
            return trajectory._replace(observation={"observation": trajectory.observation, "goal": goal})

        def get_goal_from_trajectory(self, trajectory: Any) -> Any:
            return trajectory.observation + 5

    env = Goals(CountingEnv())
    env.reset()
    np.testing.assert_array_equal(env.step(np.int32(0)).observation["goal"], [5.0])


def test_every_episode_has_the_same_number_of_steps() -> None:
    env = wrappers.FixedLength(CountingEnv(2), 4)
    assert env.fix_length == 4
    action = np.int32(3)
    steps = [env.reset(), *(env.step(action) for _ in range(6))]
    assert [int(step.step_type) for step in steps] == [0, 1, 2, 2, 2, 0, 1]
    assert [float(step.reward) for step in steps] == [0, 3, 3, 0, 0, 0, 3]
    assert [float(step.discount) for step in steps] == [1, 0.5, 0, 0, 0, 1, 0.5]
    assert [int(step.observation[0]) for step in steps] == [0, 1, 2, 2, 2, 0, 1]
    env = wrappers.FixedLength(CountingEnv(9), 2)
    steps = [env.reset(), *(env.step(action) for _ in range(3))]
    assert [int(step.step_type) for step in steps] == [0, 1, 2, 0]
    assert float(steps[2].discount) == 0.5


class NestedActions(CountingEnv):
    """Keeps its actions, which are a nest."""

    def action_spec(self) -> Any:
        return {
            "b": BoundedArraySpec((2,), np.float32, [-1, -2], [1, 2]),
            "a": (BoundedArraySpec((), np.float32, 0, 5),),
        }

    def _step(self, action: Any) -> Any:
        self.actions.append(action)
        return super()._step(0)


def test_a_nest_of_actions_is_taken_as_a_vector() -> None:
    inner = NestedActions()
    env = wrappers.FlattenActionWrapper(inner)
    spec = env.action_spec()
    assert spec.dtype == np.float32
    np.testing.assert_array_equal(spec.minimum, [0, -1, -2])
    np.testing.assert_array_equal(spec.maximum, [5, 1, 2])
    env.reset()
    env.step(np.array([3.0, 0.5, 1.5], np.float32))
    assert inner.actions[0]["a"][0].shape == ()
    assert float(inner.actions[0]["a"][0]) == 3.0
    np.testing.assert_array_equal(inner.actions[0]["b"], np.array([0.5, 1.5], np.float32))
    assert wrappers.FlattenActionWrapper(inner, flat_dtype=np.float64).action_spec().dtype == np.float64


def test_extra_actions_are_masked() -> None:
    env = wrappers.ExtraDisabledActionsWrapper(CountingEnv(), 2)
    assert env.action_spec().maximum == 7
    assert env.observation_spec()[1].shape == (8,)
    first = env.reset()
    np.testing.assert_array_equal(first.observation[1], [1] * 6 + [0] * 2)
    assert first.observation[1].dtype == np.int64
    assert int(env.step(np.int32(1)).observation[0][0]) == 1
    batch = wrappers.ExtraDisabledActionsWrapper(BatchedPyEnvironment([CountingEnv(), CountingEnv()]), 1)
    assert batch.reset().observation[1].shape == (2, 7)


def test_a_wrapper_can_reset_an_environment_that_does_not() -> None:
    class Stays(CountingEnv):
        def _step(self, action: Any) -> Any:
            self.ended = False
            return super()._step(action)

    for make in (
        lambda env: wrappers.PyEnvironmentBaseWrapper(env, handle_auto_reset=True),
        lambda env: wrappers.OneHotActionWrapper(env, True),
        lambda env: wrappers.HistoryWrapper(env, 2, handle_auto_reset=True),
    ):
        env = make(Stays(1))
        action = env.action_spec().minimum * np.ones(env.action_spec().shape, np.int32)
        action = action.astype(env.action_spec().dtype)
        assert [int(step.step_type) for step in (env.reset(), env.step(action), env.step(action))] == [0, 2, 0]
