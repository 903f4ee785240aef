"""The wrappers of Atari games, on a made game with ale-py's interface; and real games, where ale-py is installed."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.environments import suite_atari
from distpolicy.environments.atari_wrappers import AtariTimeLimit, FireOnReset, FrameStack4
from distpolicy.environments.gymnasium_wrapper import GymnasiumWrapper


class Game(gym.Env):
    """Counts its frames, which are the pixels. A life is lost after each third one, and the game has two lives."""

    observation_space = gym.spaces.Box(0, 255, (2, 2, 1), np.uint8)
    action_space = gym.spaces.Discrete(3)
    game_over = False

    def __init__(self) -> None:
        self.num_frames, self.actions, self.num_resets = 0, [], 0

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE", "UP"]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.num_frames, self.game_over, self.num_resets = 0, False, self.num_resets + 1
        return np.zeros((2, 2, 1), np.uint8), {}

    def step(self, action: Any) -> Any:
        self.actions.append(int(action))
        self.num_frames += 1
        self.game_over = self.num_frames == 6
        return np.full((2, 2, 1), self.num_frames, np.uint8), 1.0, self.num_frames % 3 == 0, False, {}


def test_frames_are_stacked_the_newest_last() -> None:
    env = FrameStack4(Game())
    assert env.observation_space.shape == (2, 2, 4)
    np.testing.assert_array_equal(env.reset()[0][0, 0], [0, 0, 0, 0])
    env.step(0)
    np.testing.assert_array_equal(env.step(0)[0][0, 0], [0, 0, 1, 2])
    np.testing.assert_array_equal(env.reset()[0][0, 0], [0, 0, 0, 0])


def test_fire_is_pressed_at_the_start() -> None:
    env = FireOnReset(Game())
    observation, _ = env.reset()
    assert env.unwrapped.actions == [1, 2]
    assert observation[0, 0, 0] == 2


def limited(duration: int) -> AtariTimeLimit:
    return AtariTimeLimit(GymnasiumWrapper(FrameStack4(Game()), auto_reset=False), duration)


def test_a_lost_life_ends_an_episode_and_not_the_game() -> None:
    env = limited(100)
    steps = [env.reset(), *(env.step(0) for _ in range(9))]
    assert [int(step.step_type) for step in steps] == [0, 1, 1, 2, 0, 1, 1, 2, 0, 1]
    assert [int(step.observation[0, 0, -1]) for step in steps] == [0, 1, 2, 3, 3, 4, 5, 6, 0, 1]
    assert env.gym.unwrapped.num_resets == 2
    assert [float(step.discount) for step in steps[3:5]] == [0.0, 1.0]


def test_the_limit_counts_the_lives_of_a_game_together_and_truncates() -> None:
    env = limited(5)
    steps = [env.reset(), *(env.step(0) for _ in range(8))]
    assert [int(step.step_type) for step in steps] == [0, 1, 1, 2, 0, 1, 2, 0, 1]
    assert float(steps[6].discount) == 1.0
    assert env.gym.unwrapped.num_resets == 2


def test_names_of_games() -> None:
    assert suite_atari.game() == "PongNoFrameskip-v0"
    assert suite_atari.game("Breakout", mode="", version="v4") == "Breakout-v4"
    for wrong in ({"obs_type": "ram"}, {"mode": "Deterministic"}, {"version": "v5"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            suite_atari.game(**wrong)  # type: ignore[arg-type]


def test_a_game_is_preprocessed() -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    env = suite_atari.load(
        suite_atari.game("Breakout", version="v4"),
        max_episode_steps=8,
        gym_env_wrappers=suite_atari.DEFAULT_ATARI_GYM_WRAPPERS_WITH_STACKING,
    )
    env.seed(1)
    steps = [env.reset(), *(env.step(1) for _ in range(9))]
    assert [int(step.step_type) for step in steps] == [0, 1, 1, 1, 1, 1, 1, 1, 2, 0]
    assert env.observation_spec().shape == (84, 84, 4)
    assert env.observation_spec().dtype == np.uint8
    for step in steps:
        assert step.observation.shape == (84, 84, 4)
    np.testing.assert_array_equal(steps[3].observation[..., 1:], steps[4].observation[..., :3])
    # Four frames a step, while the game itself has none to skip.
    assert env.gym.unwrapped.ale.getEpisodeFrameNumber() == 0
    env.step(0)
    assert env.gym.unwrapped.ale.getEpisodeFrameNumber() == 4
    assert env.render().shape == (210, 160, 3)


def test_an_episode_ends_with_a_life_if_asked_for() -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")

    def one_life(env: gym.Env) -> gym.Env:
        return suite_atari.AtariPreprocessing(env, terminal_on_life_loss=True)

    env = suite_atari.load("BreakoutNoFrameskip-v4", gym_env_wrappers=(one_life,))
    env.seed(1)
    step = env.reset()
    num_lives = env.gym.unwrapped.ale.lives()
    num_steps = 0
    while not step.is_last():
        step = env.step(1)
        num_steps += 1
        assert num_steps < 1000
    assert float(step.discount) == 0.0
    assert env.gym.unwrapped.ale.lives() == num_lives - 1
    frame = env.gym.unwrapped.ale.getEpisodeFrameNumber()
    assert env.step(1).is_first()
    assert env.step(1).is_mid()
    assert env.gym.unwrapped.ale.getEpisodeFrameNumber() == frame + 4
    with pytest.raises(ValueError, match="frame_skip"):
        suite_atari.AtariPreprocessing(env.gym.unwrapped, frame_skip=0)
