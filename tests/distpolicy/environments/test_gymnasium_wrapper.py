from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.environments import suite_gym, suite_gymnasium
from distpolicy.environments.gymnasium_wrapper import GymnasiumWrapper
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import StepType

FIRST, MID, LAST = (int(kind) for kind in (StepType.FIRST, StepType.MID, StepType.LAST))


class Script(gym.Env):
    """Three steps an episode; writes its observation into one buffer, and remembers its actions."""

    observation_space = gym.spaces.Dict(
        {"x": gym.spaces.Box(-1.0, 1.0, (2,), np.float32), "t": gym.spaces.Tuple([gym.spaces.MultiBinary(2)])}
    )
    action_space = gym.spaces.Discrete(3, start=5)
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, truncates: bool = False, render_mode: str | None = None) -> None:
        self.truncates, self.render_mode = truncates, render_mode
        self.buffer = np.zeros(2, np.float64)
        self.bits = np.zeros(2, np.int8)
        self.actions: list[Any] = []
        self.seeds: list[Any] = []
        self.count = 0

    def _observe(self) -> Any:
        self.buffer[:] = 0.25 * self.count
        self.bits[:] = self.count % 2
        return {"t": (self.bits,), "x": self.buffer}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self.count = 0
        return self._observe(), {"count": 0}

    def step(self, action: Any) -> Any:
        self.actions.append(action)
        self.count += 1
        done = self.count == 3
        return self._observe(), 2, done and not self.truncates, done, {"count": self.count}

    def render(self, **arguments: Any) -> Any:  # type: ignore[override]
        return arguments


def test_specs_are_the_spaces_and_a_start_is_kept() -> None:
    env = GymnasiumWrapper(Script())
    assert env.action_spec() == BoundedArraySpec((), np.int64, 5, 7)
    assert env.observation_spec() == {
        "x": BoundedArraySpec((2,), np.float32, -1.0, 1.0),
        "t": (BoundedArraySpec((2,), np.int8, 0, 1),),
    }


@pytest.mark.parametrize(("truncates", "discount", "expected"), [(False, 0.5, 0.0), (True, 1.0, 1.0), (True, 0.5, 0.5)])
def test_termination_has_discount_0_and_truncation_keeps_it(truncates: bool, discount: float, expected: float) -> None:
    env = GymnasiumWrapper(Script(truncates), discount)
    steps = [env.reset(), *(env.step(np.int64(6)) for _ in range(4))]
    assert [int(step.step_type) for step in steps] == [FIRST, MID, MID, LAST, FIRST]
    assert [float(step.discount) for step in steps] == [1.0, discount, discount, expected, 1.0]
    assert [float(step.reward) for step in steps] == [0.0, 2.0, 2.0, 2.0, 0.0]
    assert {step.reward.dtype for step in steps} == {np.dtype(np.float32)}
    # Environments may use their buffer again.
    np.testing.assert_array_equal([step.observation["x"][0] for step in steps], [0.0, 0.25, 0.5, 0.75, 0.0])
    assert steps[0].observation["x"].dtype == np.float32
    assert steps[0].observation["t"][0].dtype == np.int8
    np.testing.assert_array_equal([step.observation["t"][0][0] for step in steps], [0, 1, 0, 1, 0])


def test_without_auto_reset_the_environment_is_stepped_on() -> None:
    env = GymnasiumWrapper(Script(), auto_reset=False)
    env.reset()
    for _ in range(4):
        step = env.step(5)
    assert int(step.step_type) == MID
    assert len(env.gym.actions) == 4


def test_actions_are_scalars_and_the_one_after_last_is_ignored() -> None:
    env = GymnasiumWrapper(Script())
    env.reset()
    for action in (np.asarray(5), np.int64(6), 7, np.asarray(5)):
        env.step(action)
    assert env.gym.actions == [5, 6, 7]
    assert not any(isinstance(action, np.ndarray) for action in env.gym.actions)


def test_info_and_done_are_those_of_the_last_step() -> None:
    env = GymnasiumWrapper(Script())
    assert env.get_info() is None
    assert env.done
    env.reset()
    assert (env.get_info(), env.done) == ({"count": 0}, False)
    for _ in range(3):
        env.step(5)
    assert (env.get_info(), env.done) == ({"count": 3}, True)


def test_seed_is_for_the_next_reset_only() -> None:
    env = GymnasiumWrapper(Script())
    env.seed(3)
    env.reset()
    env.reset()
    assert env.gym.seeds == [3, None]


def test_dtypes_and_bounds_can_be_chosen() -> None:
    env = GymnasiumWrapper(Script(), spec_dtype_map={gym.spaces.Box: np.float64})
    assert env.observation_spec()["x"] == BoundedArraySpec((2,), np.float64, -1.0, 1.0)
    assert env.observation_spec()["x"].minimum.shape == ()
    assert env.reset().observation["x"].dtype == np.float64
    assert GymnasiumWrapper(Script(), simplify_box_bounds=False).observation_spec()["x"].minimum.shape == (2,)
    assert GymnasiumWrapper(Script(), match_obs_space_dtype=False).reset().observation["x"].dtype == np.float64


def test_bounds_that_a_chosen_integer_dtype_cannot_hold_become_its_limits() -> None:
    class Unbounded(Script):
        observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)  # type: ignore[assignment]

    for dtype in (np.int32, np.int64, np.uint8):
        limits = np.iinfo(dtype)
        spec = GymnasiumWrapper(Unbounded(), spec_dtype_map={gym.spaces.Box: dtype}).observation_spec()
        assert spec == BoundedArraySpec((2,), dtype, limits.min, limits.max)


def test_a_box_of_booleans_is_a_mask_in_observations_and_actions() -> None:
    class Masked(Script):
        observation_space = gym.spaces.Dict({"mask": gym.spaces.Box(0, 1, (2,), np.bool_)})
        action_space = gym.spaces.Box(0, 1, (2,), np.bool_)  # type: ignore[assignment]

        def _observe(self) -> Any:
            return {"mask": np.array([True, False])}

    env = GymnasiumWrapper(Masked())
    assert env.observation_spec() == {"mask": ArraySpec((2,), np.bool_)}
    assert env.action_spec() == ArraySpec((2,), np.bool_)
    assert env.reset().observation["mask"].tolist() == [True, False]
    policy = RandomPyPolicy(env.time_step_spec(), env.action_spec())
    env.step(policy.action(env.current_time_step()).action)
    assert env.gym.actions[0].dtype == np.bool_


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_])
def test_boxes_without_elements_pass(dtype: Any) -> None:
    class Empty(Script):
        observation_space = action_space = gym.spaces.Box(0, 1, (0, 2), dtype)  # type: ignore[assignment]

        def _observe(self) -> Any:
            return np.zeros((0, 2), dtype)

    env = GymnasiumWrapper(Empty())
    policy = RandomPyPolicy(env.time_step_spec(), env.action_spec())
    step = env.step(policy.action(env.reset()).action)
    assert step.observation.shape == env.gym.actions[0].shape == (0, 2)


def test_a_loaded_environment_renders_an_image() -> None:
    env = suite_gym.load("CartPole-v1")
    env.reset()
    image = env.render()
    assert (image.dtype, image.shape[2]) == (np.uint8, 3)
    env.close()
    assert suite_gym.load("CartPole-v1", gym_kwargs={"render_mode": None}).gym.render_mode is None


def test_render_needs_the_mode_that_the_environment_was_made_for() -> None:
    env = GymnasiumWrapper(Script(render_mode="rgb_array"), render_kwargs={"zoom": 2})
    assert env.render() == {"zoom": 2}
    with pytest.raises(NotImplementedError, match="render_mode='human'"):
        env.render("human")


def test_state_is_the_environment_s_if_it_has_one() -> None:
    class Stateful(Script):
        def get_state(self) -> int:
            return self.count

        def set_state(self, state: int) -> None:
            self.count = state

    env = GymnasiumWrapper(Stateful())
    env.set_state(2)
    assert env.get_state() == 2
    with pytest.raises(NotImplementedError, match="Script has no get_state"):
        GymnasiumWrapper(Script()).get_state()


def test_other_attributes_are_the_environment_s_and_it_can_be_copied() -> None:
    env = GymnasiumWrapper(Script())
    assert env.truncates is False
    with pytest.raises(AttributeError):
        _ = env.no_such_attribute
    other = copy.deepcopy(env)
    other.reset()
    assert env.gym.seeds == []


@pytest.mark.parametrize("suite", [suite_gymnasium, suite_gym])
@pytest.mark.parametrize(("limit", "length"), [(None, 200), (7, 7)])
def test_load_makes_an_environment_with_its_limit(suite: Any, limit: int | None, length: int) -> None:
    env = suite.load("Pendulum-v1", max_episode_steps=limit)
    step, count = env.reset(), 0
    while not step.is_last():
        step = env.step(np.zeros(1, np.float32))
        count += 1
    assert count == length
    assert float(step.discount) == 1.0
    env.close()


def test_load_without_a_limit_goes_on() -> None:
    env = suite_gymnasium.load("Pendulum-v1", discount=0.9, max_episode_steps=0, gym_kwargs={"g": 1.0})
    env.reset()
    steps = [env.step(np.zeros(1, np.float32)) for _ in range(201)]
    assert not any(step.is_last() for step in steps)
    assert float(steps[0].discount) == np.float32(0.9)
    assert env.gym.unwrapped.g == 1.0


def test_load_wraps_both_environments_in_order() -> None:
    env = suite_gymnasium.load(
        "CartPole-v1",
        gym_env_wrappers=[lambda inner: gym.wrappers.TimeLimit(inner, 2), gym.wrappers.FlattenObservation],
        env_wrappers=[lambda inner: (inner, "first"), lambda pair: (*pair, "second")],
    )
    assert env[1:] == ("first", "second")
    assert isinstance(env[0].gym, gym.wrappers.FlattenObservation)
    env[0].reset()
    assert [int(env[0].step(0).step_type) for _ in range(2)] == [MID, LAST]


def test_same_seed_gives_the_same_episode() -> None:
    def episode() -> np.ndarray:
        env = suite_gymnasium.load("CartPole-v1")
        env.seed(4)
        return np.stack([env.reset().observation, *(env.step(np.int64(1)).observation for _ in range(5))])

    np.testing.assert_array_equal(episode(), episode())
