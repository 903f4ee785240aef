"""Every kind of space goes through every form of stepping, unchanged."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environment_streams import assert_is_stream, stream
from toy_envs import EVERY_SPACE, BadReturnEnv, EverySpaceEnv

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.utils.nests.array_nest import flatten, map_structure
from workers.environments.actions import ActionRows
from workers.environments.checks import check_time_step
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.restart_budget import RestartBudgetConfig

SEEDS = (3, 4)
STRICT = RestartBudgetConfig(max_restarts=0)


def environment(kind: str, mode: Any) -> Any:
    return EnvironmentFactory("toy_envs:EverySpaceEnv", mode, {"kind": kind}, restarts=STRICT)(2)


@pytest.mark.parametrize("kind", list(EVERY_SPACE))
def test_sync_returns_what_single_envs_return(kind: str) -> None:
    found = stream(environment(kind, "sync"), 9, SEEDS)
    assert_is_stream(found)
    for row, seed in enumerate(SEEDS):
        env = EverySpaceEnv(kind)
        expected = [env.reset(seed=seed)[0]]
        while len(expected) < 9:
            last = env._step == 3
            expected.append(env.reset()[0] if last else env.step(env.action_space.sample())[0])
        for leaf, *steps in zip(flatten(found.observation), *map(_leaves, expected), strict=True):
            assert leaf.dtype == np.asarray(steps[0]).dtype
            np.testing.assert_array_equal(leaf[:, row], np.stack(steps))


def _leaves(observation: Any) -> list[Any]:
    return flatten(dict(observation)) if isinstance(observation, dict) else flatten(observation)


@pytest.mark.parametrize("kind", ["image", "bool", "float16", "scalar", "discrete", "multi_binary", "tuple", "nested"])
def test_async_returns_what_sync_returns(kind: str) -> None:
    sync, asynchronous = (stream(environment(kind, mode), 9, SEEDS) for mode in ("sync", "async"))
    for left, right in zip(flatten(tuple(sync)), flatten(tuple(asynchronous)), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("kind", list(EVERY_SPACE))
def test_observations_match_their_spec_and_pass_the_check(kind: str) -> None:
    time_step_spec, action_spec = probe(
        EnvironmentFactory("toy_envs:EverySpaceEnv", kwargs={"kind": kind}), for_training=False
    )
    slots = environment(kind, "sync")
    time_step = slots.reset(SEEDS)
    check_time_step(time_step, time_step_spec, "env", check_bounds=True)
    assert (time_step_spec, action_spec) == (slots.time_step_spec, slots.action_spec)
    slots.close()


def test_actions_of_a_box_inside_a_nest_are_clipped_and_others_are_not() -> None:
    low = np.array([-1.0, -np.inf], np.float32)
    box = gym.spaces.Box(low, np.array([1.0, 5.0], np.float32), (2,), np.float32)
    rows = ActionRows(gym.spaces.Dict({"z": box, "a": gym.spaces.Discrete(2)}))
    action = {"a": np.array([7, 0]), "z": np.array([[9.0, 9.0], [-9.0, -9.0]], np.float32)}
    before = map_structure(np.copy, action)
    clipped = rows.clipped(action)
    assert clipped["a"].tolist() == [7, 0]
    assert clipped["z"].tolist() == [[1, 5], [-1, -9]]
    assert clipped["z"].dtype == np.float32
    first, second = rows.rows(action)
    assert (first["a"], first["z"].tolist(), second["z"].tolist()) == (7, [1, 5], [-1, -9])
    np.testing.assert_array_equal(action["z"], before["z"])


IMAGE = np.zeros((8, 6, 3), np.uint8)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(
    ("space", "observation", "message"),
    [
        (
            "float32",
            np.full((2, 3), 1e300),
            r"as float64 \(2, 3\), not float32 \(2, 3\) .* float32 does not hold 1e\+300",
        ),
        ("float32", np.zeros(3, np.float32), r"observation as float32 \(3,\), not float32 \(2, 3\)"),
        ("float32", "text", r"observation as a str, not float32"),
        ("image", IMAGE + np.float32(0.5), r"observation as float32 \(8, 6, 3\), not uint8 .* does not hold 0\.5"),
        ("discrete", 1.5, r"observation as a float, not int64 \(\)"),
        ("dict", {"a": 1}, r"a dict with the keys a instead of a nest with observation/z"),
        ("dict", 3, r"a int instead of a nest with observation/a"),
        ("tuple", (1, IMAGE), r"observation/1 as uint8 \(8, 6, 3\), not uint8 \(4, 4, 1\)"),
    ],
)
def test_an_observation_out_of_its_space_is_an_error_that_names_leaf_and_row(
    mode: Any, space: str, observation: Any, message: str
) -> None:
    kwargs = {"space": space, "observation": observation}
    slots = EnvironmentFactory("toy_envs:BadReturnEnv", mode, kwargs)(2)
    with pytest.raises(EnvironmentCrashedError, match=message) as caught:
        stream(slots, 2, [0, 1], np.zeros(2, np.int64))
    assert caught.value.slot == 1
    assert "observation_space says" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("reward", ["much", [1.0, 2.0], None])
def test_a_reward_that_is_no_number_is_an_error_that_names_the_row(mode: Any, reward: Any) -> None:
    slots = EnvironmentFactory("toy_envs:BadReturnEnv", mode, {"space": "float32", "reward": reward})(2)
    with pytest.raises(EnvironmentCrashedError, match="as reward; it must be a number") as caught:
        stream(slots, 2, [0, 1], np.zeros(2, np.int64))
    assert caught.value.slot == 1


def test_lists_and_numbers_do_for_arrays() -> None:
    for space, observation in (("float64", [[1, 2, 3], [4, 5, 6]]), ("discrete", np.int32(2)), ("discrete", 2)):
        slots = EnvironmentFactory("toy_envs:BadReturnEnv", "sync", {"space": space, "observation": observation})(2)
        found = stream(slots, 2, [1, 0], np.zeros(2, np.int64))
        np.testing.assert_array_equal(found.observation[1, 0], observation)


def test_the_toy_env_returns_good_observations_unless_told_otherwise() -> None:
    env = BadReturnEnv("float32", np.zeros(3))
    env.reset(seed=0)
    assert env.step(0)[0].shape == (2, 3)


@pytest.mark.parametrize(("kind", "path"), [("float32", ""), ("float16", ""), ("nested", "/joints/0")])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_named_by_leaf_and_row(kind: str, path: str, value: float) -> None:
    slots = environment(kind, "sync")
    time_step = slots.reset(SEEDS)
    leaf = next(leaf for leaf in flatten(time_step.observation) if leaf.dtype.kind == "f")
    check_time_step(time_step, slots.time_step_spec, "env")
    leaf[1, 0, 0] = value
    with pytest.raises(EnvironmentCrashedError, match=f"returned NaN or infinity as observation{path}") as caught:
        check_time_step(time_step, slots.time_step_spec, "env")
    assert caught.value.slot == 1
    slots.close()


def test_a_reward_that_is_nan_is_named() -> None:
    slots = environment("image", "sync")
    time_step = slots.reset(SEEDS)
    time_step.reward[0] = math.nan
    with pytest.raises(EnvironmentCrashedError, match="NaN or infinity as reward") as caught:
        check_time_step(time_step, slots.time_step_spec, "env")
    assert caught.value.slot == 0
    slots.close()


@pytest.mark.filterwarnings("error")
def test_large_finite_values_pass() -> None:
    slots = environment("float32", "sync")
    time_step = slots.reset(SEEDS)
    time_step.observation[...] = np.finfo(np.float32).max
    check_time_step(time_step, slots.time_step_spec, "env")
    slots.close()


def test_bounds_are_checked_if_asked() -> None:
    slots = environment("float32", "sync")
    time_step = slots.reset(SEEDS)
    time_step.observation[1, 0, 2] = 1.5
    check_time_step(time_step, slots.time_step_spec, "env")
    with pytest.raises(EnvironmentCrashedError, match=r"observation outside its bounds \[0, 1\]: 1.5") as caught:
        check_time_step(time_step, slots.time_step_spec, "env", check_bounds=True)
    assert caught.value.slot == 1
    slots.close()


@pytest.mark.parametrize(
    ("kind", "observation", "message"),
    [
        ("float32", np.zeros((2, 2, 3), np.float64), r"as float64 \(2, 3\), not float32 \(2, 3\)"),
        ("float32", np.zeros((2, 3, 2), np.float32), r"as float32 \(3, 2\), not float32 \(2, 3\)"),
        ("dict", {"a": np.zeros(2, np.int64)}, r"with the leaves /a, not /a, /z"),
        ("dict", {"a": np.zeros(2, np.int64), "z": [1]}, r"with the leaves /a, /z/0, not /a, /z"),
    ],
)
def test_a_vectorised_form_out_of_its_space_is_named(kind: str, observation: Any, message: str) -> None:
    slots = environment(kind, "sync")
    time_step = slots.reset(SEEDS)._replace(observation=observation)
    with pytest.raises(EnvironmentCrashedError, match=message):
        check_time_step(time_step, slots.time_step_spec, "env")
    slots.close()
