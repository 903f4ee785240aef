"""CartPole and Pendulum without velocities, one at a time and in their vectorised forms."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from distpolicy.environments import partially_observed
from distpolicy.environments.stateless_pendulum_vector_env import StatelessPendulumVectorEnv
from distpolicy.errors import ConfigError, SpecMismatchError

CARTPOLE, PENDULUM = "StatelessCartPole-v1", "StatelessPendulum-v1"
# What is left of Gymnasium's observation.
SHOWN = {CARTPOLE: ("CartPole-v1", [0, 2]), PENDULUM: ("Pendulum-v1", [0, 1])}
ROOT = Path(__file__).resolve().parents[3]
FORMS = ["vector_entry_point", "sync"]


@pytest.fixture(autouse=True)
def _without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")


def vector(env_id: str, num_envs: int = 4, form: str = "vector_entry_point", **kwargs: Any) -> gym.vector.VectorEnv:
    return gym.make_vec(env_id, num_envs=num_envs, vectorization_mode=form, **kwargs)


def played(env: Any, num_steps: int, seed: int) -> Iterator[tuple[Any, ...]]:
    """What a reset and then drawn actions return; a single environment is reset after an episode's end."""
    env.action_space.seed(7)
    yield env.reset(seed=seed)[0], None, None, None
    for _ in range(num_steps):
        *step, _ = env.step(env.action_space.sample())
        yield tuple(step)
        if isinstance(env, gym.Env) and (step[2] or step[3]):
            yield env.reset()[0], None, None, None


def assert_same(left: Any, right: Any) -> None:
    for a, b in zip(left, right, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("env_id", SHOWN)
# The torque's range is that of Gymnasium's own Pendulum.
@pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized space")
@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_finds_nothing(env_id: str) -> None:
    env = gym.make(env_id, render_mode="rgb_array", disable_env_checker=True)
    check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize("env_id", SHOWN)
def test_one_env_is_gymnasiums_with_a_shorter_observation(env_id: str) -> None:
    full_id, shown = SHOWN[env_id]
    env, full = gym.make(env_id), gym.make(full_id)
    np.testing.assert_array_equal(env.observation_space.low, full.observation_space.low[shown])
    np.testing.assert_array_equal(env.observation_space.high, full.observation_space.high[shown])
    assert (env.action_space, env.spec.max_episode_steps) == (full.action_space, full.spec.max_episode_steps)
    assert env.spec.reward_threshold == full.spec.reward_threshold
    expected = ((observation[shown], *rest) for observation, *rest in played(full, 450, 3))
    assert_same(played(env, 450, 3), expected)


@pytest.mark.parametrize("form", FORMS)
def test_the_vectorised_cartpole_is_gymnasiums_with_shorter_observations(form: str) -> None:
    env, full = vector(CARTPOLE, 5, form), vector("CartPole-v1", 5, form)
    expected = ((observation[:, [0, 2]], *rest) for observation, *rest in played(full, 200, 3))
    assert_same(played(env, 200, 3), expected)


def test_vectorised_cartpoles_move_like_single_ones() -> None:
    single, many = gym.make(CARTPOLE).unwrapped, vector(CARTPOLE, 64)
    many.reset(seed=0)
    many.unwrapped.state = states = np.random.default_rng(0).uniform(-0.3, 0.3, (4, 64))
    actions = np.arange(64) % 2
    observations, rewards, terminated, truncated, _ = many.step(actions)
    assert 0 < terminated.sum() < 64
    single.reset()
    for slot in range(64):
        single.state = states[:, slot]
        single.steps_beyond_terminated = None
        observation, reward, ended, _, _ = single.step(actions[slot])
        np.testing.assert_allclose(observations[slot], observation, rtol=1e-6)
        assert (rewards[slot], terminated[slot], truncated[slot]) == (reward, ended, False)


@pytest.mark.parametrize("g", [10.0, 3.7])
def test_vectorised_pendulums_move_as_gymnasiums_does(g: float) -> None:
    many, single = vector(PENDULUM, 32, g=g), gym.make("Pendulum-v1", g=g).unwrapped
    many.reset(seed=0)
    single.reset()
    rng = np.random.default_rng(0)
    many.unwrapped.state = np.stack((rng.uniform(-20, 20, 32), rng.uniform(-8, 8, 32)))
    states = list(many.unwrapped.state.T)
    for _ in range(100):
        # Out of range at times: torques are clipped.
        actions = rng.uniform(-3, 3, (32, 1)).astype(np.float32)
        observations, rewards, *_ = many.step(actions)
        assert (observations.dtype, rewards.dtype, many.unwrapped.state.dtype) == (np.float32, np.float64, np.float64)
        for slot in range(32):
            single.state = states[slot]
            observation, reward, *_ = single.step(actions[slot])
            states[slot] = single.state
            np.testing.assert_array_equal(many.unwrapped.state[:, slot], single.state)
            np.testing.assert_array_equal(observations[slot], observation[:2])
            # NumPy squares the float32 torque of one env by another routine than an array of them.
            np.testing.assert_allclose(rewards[slot], reward, rtol=1e-9)


def test_a_vectorised_pendulum_begins_as_gymnasiums_does() -> None:
    many = vector(PENDULUM, 20_000)
    many.reset(seed=0)
    angle, speed = many.unwrapped.state
    assert np.abs(angle).max() == pytest.approx(np.pi, rel=1e-3)
    assert np.abs(speed).max() == pytest.approx(1, rel=1e-3)
    for drawn in many.unwrapped.state:
        assert abs(drawn.mean()) < 0.04 * np.abs(drawn).max()
    assert np.abs(np.corrcoef(angle, speed)[0, 1]) < 0.03


def test_options_of_a_reset_limit_where_pendulums_begin() -> None:
    many = vector(PENDULUM, 100, max_episode_steps=1)
    many.reset(seed=0, options={"x_init": 0.1, "y_init": 0.01})
    for _ in range(2):
        angle, speed = np.abs(many.unwrapped.state)
        assert 0.08 < angle.max() <= 0.1
        assert 0.008 < speed.max() <= 0.01
        many.step(many.action_space.sample())
        many.step(many.action_space.sample())


@pytest.mark.parametrize("form", FORMS)
def test_pendulums_are_truncated_at_200_steps_and_reset_in_the_next(form: str) -> None:
    many = vector(PENDULUM, 3, form)
    assert many.metadata["autoreset_mode"] == gym.vector.AutoresetMode.NEXT_STEP
    many.reset(seed=0)
    for step in range(1, 403):
        observations, rewards, terminated, truncated, _ = many.step(many.action_space.sample())
        assert not terminated.any()
        assert (truncated == (step in (200, 401))).all()
        assert ((rewards == 0) == (step in (201, 402))).all()
        if step == 200:
            last = observations
    assert (observations != last).all()


def test_the_step_that_resets_ignores_its_actions() -> None:
    results = []
    for torque in (-2.0, 2.0):
        many = vector(PENDULUM, 3, max_episode_steps=1)
        many.reset(seed=0)
        many.step(np.zeros((3, 1), np.float32))
        results.append(many.step(np.full((3, 1), torque, np.float32)))
    assert_same(*(result[:4] for result in results))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("env_id", SHOWN)
def test_a_seed_gives_the_same_episodes_again(env_id: str, form: str) -> None:
    env = vector(env_id, 3, form)
    first = list(played(env, 250, 11))
    assert_same(first, played(env, 250, 11))
    assert (first[0][0] != next(played(env, 0, 12))[0]).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("env_id", SHOWN)
def test_batched_spaces_hold_what_is_returned(env_id: str, form: str) -> None:
    env = vector(env_id, 3, form)
    assert env.single_observation_space == gym.make(env_id).observation_space
    assert env.observation_space.shape == (3, 2)
    for observation, *rest in played(env, 20, 0):
        assert env.observation_space.contains(observation)
        assert all(array is None or array.shape == (3,) for array in rest)


@pytest.mark.parametrize("env_id", SHOWN)
def test_observations_are_not_written_to_by_later_steps(env_id: str) -> None:
    steps = list(played(vector(env_id, 3), 30, 0))
    for left, right in itertools.pairwise(steps):
        assert not any(np.shares_memory(a, b) for a in left if a is not None for b in right if b is not None)


@pytest.mark.parametrize("env_id", SHOWN)
def test_processes_can_step_them(env_id: str) -> None:
    # Spawned: nothing in there has imported the module that registers the id.
    env = vector(env_id, 2, "async", vector_kwargs={"context": "spawn"})
    try:
        assert_same(played(env, 30, 0), list(played(vector(env_id, 2, "sync"), 30, 0)))
    finally:
        env.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("env_id", "size"), [(CARTPOLE, (400, 600, 3)), (PENDULUM, (500, 500, 3))])
def test_slots_are_drawn(env_id: str, size: tuple[int, ...], form: str) -> None:
    pytest.importorskip("pygame")
    env = vector(env_id, 2, form, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    frames = env.render()
    assert [(frame.shape, frame.dtype) for frame in frames] == [(size, np.uint8)] * 2
    assert (frames[0] != frames[1]).any()
    env.close()


def test_a_pendulum_is_drawn_as_gymnasium_draws_it() -> None:
    pytest.importorskip("pygame")
    many = vector(PENDULUM, 1, render_mode="rgb_array")
    single = gym.make("Pendulum-v1", render_mode="rgb_array").unwrapped
    many.reset(seed=0)
    single.reset()
    single.state = many.unwrapped.state[:, 0]
    np.testing.assert_array_equal(many.render()[0], single.render())
    action = np.array([1.5], np.float32)
    many.step(action[np.newaxis])
    single.step(action)
    np.testing.assert_array_equal(many.render()[0], single.render())
    assert vector(PENDULUM, 1).render() is None
    many.close()


def test_misuse_of_the_vectorised_pendulum_is_told() -> None:
    with pytest.raises(ConfigError, match="num_envs must be 1 or more, but is 0"):
        StatelessPendulumVectorEnv(0)
    with pytest.raises(ConfigError, match="episode_length must be 1 or more, but is 0"):
        StatelessPendulumVectorEnv(1, max_episode_steps=0)
    env = StatelessPendulumVectorEnv(3)
    with pytest.raises(gym.error.ResetNeeded, match="call reset before step"):
        env.step(np.zeros((3, 1), np.float32))
    env.reset()
    with pytest.raises(SpecMismatchError, match=r"must have shape \(3, 1\), but have \(3,\)"):
        env.step(np.zeros(3, np.float32))


def test_their_modules_leave_tensorflow_out() -> None:
    code = (
        "import sys, gymnasium\n"
        f"gymnasium.make_vec('{partially_observed.__name__}:{PENDULUM}').reset()\n"
        "gymnasium.make_vec('distpolicy.environments.memory_tasks:RepeatPrevious-v1').reset()\n"
        "print(sorted(set(sys.modules) & {'tensorflow', 'keras', 'ray'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
