"""What ``reset`` and ``step`` take and return is checked by the same rules, in the same words, in every form."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.environments.gymnasium_interface import InterfaceError, call_problem
from distpolicy.environments.gymnasium_wrapper import GymnasiumWrapper
from distpolicy.errors import ConfigError, EnvironmentCrashedError
from distpolicy.utils.nests.array_nest import map_structure
from workers.environments.batched import VectorEnvironment
from workers.environments.processes.environment import ProcessEnvironment
from workers.environments.sync import SyncEnvironment
from workers.restart_budget import RestartBudgetConfig

OBSERVATION = np.zeros(2, np.float32)
GENEROUS = RestartBudgetConfig(max_restarts=10, backoff_s=60.0)  # A retry would be seen by its wait.


class Returns(gym.Env):
    """Returns what it is told to, from reset and from step."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, step: Any = (OBSERVATION, 1.0, False, False, {}), reset: Any = (OBSERVATION, {})) -> None:
        self._step, self._reset = step, reset

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self._reset

    def step(self, action: Any) -> Any:
        return self._step


class WithoutSeed(Returns):
    def reset(self) -> Any:  # type: ignore[override]
        return OBSERVATION


class WithoutAction(Returns):
    def step(self) -> Any:  # type: ignore[override]
        return self._step


def twice(leaf: Any) -> np.ndarray:
    return np.stack([leaf] * 2)


class VectorOf(gym.vector.VectorEnv):
    """The vectorised form of one environment's answers: the same in every row."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}

    def __init__(self, env: Any) -> None:
        self.env, self.num_envs = env, 2
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space

    def _rows(self, result: Any) -> Any:
        if not isinstance(result, tuple):
            return twice(result)
        *values, info = result
        return (
            *([value] * 2 if isinstance(value, str | list) else map_structure(twice, value) for value in values),
            info,
        )

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self._rows(self.env.reset())

    def step(self, actions: Any) -> Any:
        return self._rows(self.env.step(actions[0]))


def sync(env: Returns) -> Any:
    return SyncEnvironment(lambda: env, "toy", 2, GENEROUS)


def processes(env: Returns) -> Any:
    return ProcessEnvironment(lambda: env, "toy", 2, GENEROUS, step_timeout_s=30.0)


def vector(env: Returns) -> Any:
    return VectorEnvironment(VectorOf(env), "toy")


FORMS = [sync, processes, vector]
ACTION = np.zeros(2, np.int64)


def stepped(make: Callable[[Returns], Any], env: Returns) -> Any:
    slots = make(env)
    try:
        slots.reset([0, 1])
        return slots.step(ACTION)
    finally:
        slots.close()


def told(make: Callable[[Returns], Any], env: Returns) -> str:
    with pytest.raises(EnvironmentCrashedError) as caught:
        stepped(make, env)
    assert "\n" not in caught.value.message
    return caught.value.message


def told_by_suite_gym(env: Returns) -> str:
    wrapped = GymnasiumWrapper(env)

    def begin_and_step() -> None:
        wrapped.reset()
        wrapped.step(0)

    with pytest.raises(InterfaceError) as caught:
        begin_and_step()
    return str(caught.value).replace(f"env {type(env).__name__}", "env toy")


def step_with(**changes: Any) -> tuple[Any, ...]:
    values = {"observation": OBSERVATION, "reward": 1.0, "terminated": False, "truncated": False, "info": {}}
    return tuple({**values, **changes}.values())


@pytest.mark.parametrize(
    "env",
    [
        Returns(step_with(reward="much")),
        Returns(step_with(reward=[1.0, 2.0])),
        Returns(step_with(terminated="no")),
        Returns(step_with(truncated=0.5)),
    ],
)
def test_a_bad_reward_or_flag_is_told_in_the_same_words_everywhere(env: Returns) -> None:
    messages = {told(make, env) for make in FORMS} | {told_by_suite_gym(env)}
    assert len(messages) == 1
    assert messages.pop().startswith("env toy returned ")


class RewardIsTextAfterOne(Returns):
    def step(self, action: Any) -> Any:
        return step_with(reward="much" if action == 1 else 1.0)


@pytest.mark.parametrize("make", [sync, processes])
@pytest.mark.parametrize("slot", [0, 1])
def test_the_slot_of_a_bad_value_is_named(make: Any, slot: int) -> None:
    slots = make(RewardIsTextAfterOne())
    try:
        slots.reset([0, 1])
        with pytest.raises(EnvironmentCrashedError) as caught:
            slots.step(np.arange(2) == slot)
    finally:
        slots.close()
    assert caught.value.slot == slot


def test_the_slot_of_a_bad_value_of_a_vectorised_environment_is_named() -> None:
    with pytest.raises(EnvironmentCrashedError) as caught:
        stepped(vector, Returns(step_with(reward="much")))
    assert caught.value.slot == 0


@pytest.mark.parametrize("env", [Returns((OBSERVATION, 1.0, False, {})), Returns(step_with()[:3])])
def test_a_step_without_five_values_is_told_at_once_with_what_is_asked_for(env: Returns) -> None:
    messages = [told(make, env) for make in (sync, processes)] + [told_by_suite_gym(env)]
    assert len(set(messages)) == 1
    assert messages[0].startswith(f"env toy returned {len(env._step)} values (ndarray, float, bool")
    assert "from step; Gymnasium asks for step(self, action), which returns (observation, reward, term" in messages[0]
    assert "from step; Gymnasium asks for step(self, action)" in told(vector, env)


@pytest.mark.parametrize("returned", [OBSERVATION, (OBSERVATION, OBSERVATION), None, "text"])
def test_a_reset_without_info_is_told_at_once_with_what_is_asked_for(returned: Any) -> None:
    env = Returns(reset=returned)
    messages = [told(make, env) for make in (sync, processes)] + [told_by_suite_gym(env)]
    assert len(set(messages)) == 1
    assert "from reset; Gymnasium asks for reset(self, *, seed=None, options=None), which returns" in messages[0]


@pytest.mark.parametrize(
    ("env", "text"),
    [
        (WithoutSeed(), "WithoutSeed.reset() (got an unexpected keyword argument 'seed'); Gymnasium asks for reset("),
        (WithoutAction(), "WithoutAction.step() (too many positional arguments); Gymnasium asks for step("),
    ],
)
@pytest.mark.parametrize("make", [sync, processes, GymnasiumWrapper])
def test_other_arguments_are_refused_before_anything_is_called(make: Any, env: Returns, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(env)
    assert text in str(caught.value)
    with pytest.raises(ConfigError):
        make(gym.wrappers.TimeLimit(env, 3))


def test_a_wrapper_that_adapts_an_old_environment_is_not_refused() -> None:
    class Adapter(gym.Wrapper):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return self.env.reset(), {}

    time_step = stepped(sync, Adapter(WithoutSeed()))  # type: ignore[arg-type]
    assert time_step.reward.tolist() == [1.0, 1.0]


def test_a_type_error_of_another_kind_is_not_an_interface_error() -> None:
    assert call_problem(Returns(), "step", TypeError("unsupported operand")) is None
    assert call_problem(Returns(), "step", TypeError("f() got an unexpected keyword argument")) is None
    assert call_problem(WithoutSeed(), "reset", OSError("the simulator is gone")) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", FORMS)
@pytest.mark.parametrize(("reward", "expected"), [(np.array([2.0]), 2.0), (np.array([[3]]), 3.0), (True, 1.0)])
def test_an_array_of_one_element_is_a_number_everywhere(make: Any, reward: Any, expected: float) -> None:
    env = Returns(step_with(reward=reward, terminated=np.array([True]), truncated=np.array([0])))
    time_step = stepped(make, env)
    assert time_step.reward.dtype == np.float32
    assert time_step.reward.tolist() == [expected] * 2
    assert time_step.discount.tolist() == [0.0, 0.0]
    single = GymnasiumWrapper(env)
    single.reset()
    step = single.step(0)
    assert (step.reward.shape, step.reward.dtype, float(step.reward)) == ((), np.float32, expected)
    assert step.is_last()


@pytest.mark.parametrize("value", [np.zeros(3, np.float32), "text"])
def test_an_observation_of_another_shape_is_told_in_the_same_words(value: Any) -> None:
    env = Returns(step_with(observation=value))
    messages = {told(make, env) for make in (sync, processes)} | {told_by_suite_gym(env)}
    assert len(messages) == 1
    assert "returned observation as " in messages.pop()


def first_observation(make: Callable[[Returns], Any] | None, env: Returns) -> Any:
    """What an environment returned from its first step: of the first row, or by ``suite_gym`` if there is no form."""
    if make is not None:
        return map_structure(lambda leaf: leaf[0], stepped(make, env).observation)
    single = GymnasiumWrapper(env)
    single.reset()
    return single.step(0).observation


class ReturnsNest(Returns):
    observation_space = gym.spaces.Dict(  # type: ignore[assignment]
        {"a": Returns.observation_space, "b": gym.spaces.Box(0, 255, (2,), np.uint8)}
    )


BYTES = np.zeros(2, np.uint8)


class ReturnsBytes(Returns):
    observation_space = gym.spaces.Box(0, 255, (2,), np.uint8)


@pytest.mark.parametrize("make", [*FORMS, None])
@pytest.mark.parametrize("value", [np.array([0.1, -7.0]), np.array([0.5, 2], np.float16), np.array([1, 2])])
def test_an_array_of_another_dtype_is_taken_in_every_form(make: Any, value: Any) -> None:
    found = first_observation(make, Returns(step_with(observation=value), (value, {})))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, value.astype(np.float32))


@pytest.mark.parametrize("make", [*FORMS, None])
def test_so_are_the_leaves_of_a_nest(make: Any) -> None:
    good = {"a": OBSERVATION, "b": BYTES}
    other = {"a": np.array([0.1, 0.2]), "b": np.array([200, 3])}
    found = first_observation(make, ReturnsNest(step_with(observation=other), (good, {})))
    assert (found["a"].dtype, found["b"].dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(found["a"], np.asarray([0.1, 0.2], np.float32))
    np.testing.assert_array_equal(found["b"], [200, 3])


@pytest.mark.parametrize(
    ("env", "lost"),
    [
        (Returns(step_with(observation=np.array([0.0, 1e300]))), "float32 does not hold 1e+300"),
        (ReturnsBytes(step_with(observation=np.array([0.0, 0.5])), (BYTES, {})), "uint8 does not hold 0.5"),
        (ReturnsBytes(step_with(observation=np.array([0, 256])), (BYTES, {})), "uint8 does not hold 256"),
    ],
)
def test_a_value_that_its_space_does_not_hold_is_told_in_the_same_words(env: Returns, lost: str) -> None:
    messages = {told(make, env) for make in FORMS} | {told_by_suite_gym(env)}
    assert len(messages) == 1
    assert messages.pop().endswith(f" (2,) as its observation_space says: {lost}")


@pytest.mark.parametrize("make", [sync, vector, None])
def test_a_cast_is_told_once(make: Any) -> None:
    env = Returns(step_with(observation=np.array([0.1, 0.2])))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            first_observation(make, env)
    messages = [str(warning.message) for warning in caught]
    assert messages == ["observation is float64, and is cast to float32 in every step"]
