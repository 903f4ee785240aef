"""RepeatPrevious: what is shown, which answers count, and what they earn."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from distpolicy.environments.memory_tasks import RepeatPreviousEnv, RepeatPreviousVectorEnv
from distpolicy.errors import ConfigError

NEAR, FAR = "RepeatPrevious-v1", "RepeatPreviousFar-v1"
# Delay, spacing, steps of an episode.
SETTINGS = {NEAR: (8, 1, 128), FAR: (32, 32, 129)}


def episode(env: gym.vector.VectorEnv, answer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Observations ``[T + 1, N, S]`` and rewards ``[T, N]`` of an episode; ``answer`` takes the observations so far."""
    observations, rewards = [env.reset(seed=0)[0]], []
    while True:
        observation, reward, terminated, truncated, _ = env.step(answer(observations))
        observations.append(observation)
        rewards.append(reward)
        assert not terminated.any()
        if truncated.all():
            return np.stack(observations), np.stack(rewards)
        assert not truncated.any()


def symbols(observation: np.ndarray) -> np.ndarray:
    return observation.argmax(-1)


def remembered(delay: int) -> Any:
    """Answers with what was shown ``delay`` steps ago."""
    return lambda seen: symbols(seen[-1 - delay] if len(seen) > delay else seen[-1])


@pytest.mark.parametrize("env_id", SETTINGS)
@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_finds_nothing(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped)


@pytest.mark.parametrize("form", ["vector_entry_point", "sync"])
@pytest.mark.parametrize("env_id", SETTINGS)
def test_naming_what_was_shown_earns_one_and_naming_another_loses_one(env_id: str, form: str) -> None:
    delay, spacing, length = SETTINGS[env_id]
    env = gym.make_vec(env_id, num_envs=3, vectorization_mode=form)
    observations, right = episode(env, remembered(delay))
    assert (len(right), env.spec.reward_threshold) == (length, 0.9)
    np.testing.assert_allclose(right.sum(axis=0), 1.0)
    _, wrong = episode(env, lambda seen: (remembered(delay)(seen) + 1) % 4)
    np.testing.assert_array_equal(wrong, -right)
    counts = np.flatnonzero(right[:, 0])
    np.testing.assert_array_equal(counts, np.arange(delay, length, spacing))
    np.testing.assert_allclose(right[counts], 1 / len(counts))
    # Every answer that counts is asked for by a symbol.
    assert (observations[counts].sum(axis=-1) == 1).all()


@pytest.mark.parametrize("delay", [7, 9])
def test_naming_the_symbol_a_step_beside_is_chance(delay: int) -> None:
    _, rewards = episode(gym.make_vec(NEAR, num_envs=256), remembered(delay))
    assert rewards.sum(axis=0).mean() == pytest.approx(-0.5, abs=0.03)


@pytest.mark.parametrize("num_symbols", [2, 4])
def test_without_memory_every_answer_is_chance(num_symbols: int) -> None:
    env = gym.make_vec(NEAR, num_envs=256, num_symbols=num_symbols)
    for shift in range(num_symbols):
        _, rewards = episode(env, lambda seen, shift=shift: (symbols(seen[-1]) + shift) % num_symbols)
        assert rewards.sum(axis=0).mean() == pytest.approx(2 / num_symbols - 1, abs=0.03)


@pytest.mark.parametrize(("delay", "spacing"), [(8, 1), (8, 4), (8, 8)])
def test_symbols_are_shown_one_hot_at_their_spacing_and_nothing_in_between(delay: int, spacing: int) -> None:
    env = RepeatPreviousVectorEnv(256, delay, spacing, num_symbols=3, episode_length=40)
    observations, rewards = episode(env, remembered(delay))
    assert (observations.shape, observations.dtype) == ((41, 256, 3), np.float32)
    assert set(np.unique(observations)) == {0, 1}
    shown = observations.sum(axis=-1)
    assert (shown == (np.arange(41) % spacing == 0)[:, np.newaxis]).all()
    np.testing.assert_allclose(observations[::spacing].mean(axis=(0, 1)), 1 / 3, atol=0.03)
    np.testing.assert_allclose(rewards.sum(axis=0), 1.0)


@pytest.mark.parametrize("env_id", SETTINGS)
def test_one_env_and_one_vectorised_slot_do_the_same(env_id: str) -> None:
    single, many = gym.make(env_id), gym.make_vec(env_id, num_envs=1)
    assert (single.observation_space, single.action_space) == (many.single_observation_space, many.single_action_space)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(single.reset(seed=5)[0], many.reset(seed=5)[0][0])
    truncated = False
    for step in range(3 * SETTINGS[env_id][2]):
        action = rng.integers(4)
        found = many.step(np.array([action]))
        expected = (single.reset()[0], 0.0, False, False) if truncated else single.step(action)
        for left, right in zip(found, expected[:4], strict=False):
            np.testing.assert_array_equal(left[0], right, err_msg=f"step {step}")
        truncated = expected[3]


def test_a_seed_gives_the_same_symbols_again_and_episodes_differ() -> None:
    env = gym.make_vec(NEAR, num_envs=4)
    first, _ = episode(env, remembered(8))
    again, _ = episode(env, remembered(8))
    np.testing.assert_array_equal(first, again)
    following = [env.step(np.zeros(4, np.int64))[0] for _ in range(129)]
    assert 0.15 < (np.stack(following) == first).all(axis=-1).mean() < 0.35
    assert 0.15 < (first[:, 0] == first[:, 1]).all(axis=-1).mean() < 0.35


def test_the_step_after_an_episodes_last_resets_and_ignores_its_actions() -> None:
    env = RepeatPreviousVectorEnv(2, delay=1, episode_length=2)
    observation, _ = env.reset(seed=0)
    for _ in range(20):
        shown = symbols(observation)
        _, reward, _, truncated, _ = env.step(np.zeros(2, np.int64))
        assert (reward == 0).all()
        assert not truncated.any()
        _, reward, _, truncated, _ = env.step(shown)
        assert (reward == 1).all()
        assert truncated.all()
        observation, reward, _, truncated, _ = env.step(shown)
        assert (reward == 0).all()
        assert not truncated.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delay": 0}, "delay must be 1 or more, but is 0"),
        ({"spacing": 0}, "spacing must be 1 or more, but is 0"),
        ({"num_symbols": 1}, "num_symbols must be 2 or more, but is 1"),
        ({"delay": 128}, "episode_length must be 129 or more, but is 128"),
        ({"spacing": 3}, "delay must be a multiple of spacing 3, but is 8"),
    ],
)
@pytest.mark.parametrize("kind", [RepeatPreviousEnv, RepeatPreviousVectorEnv])
def test_arguments_that_cannot_work_are_refused(kind: Any, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**arguments)


def test_a_step_outside_an_episode_is_refused() -> None:
    env = RepeatPreviousEnv(delay=1, episode_length=2)
    for _ in range(2):
        with pytest.raises(gym.error.ResetNeeded, match="call reset before the first step"):
            env.step(0)
        env.reset()
        assert env.step(0)[3] is False
        assert env.step(0)[3] is True
