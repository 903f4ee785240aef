"""RepeatPrevious: a memory task. The policy must name the symbol that it saw some steps ago.

Importing this module registers two tasks. ``distpolicy.environments.memory_tasks:RepeatPrevious-v1`` is then an id for
Gymnasium and for every command. Both tasks have four symbols. :class:`RepeatPreviousEnv` explains the arguments.

| id | delay | spacing | episode_length | answers that count | symbols to remember |
|---|---|---|---|---|---|
| ``RepeatPrevious-v1`` | 8 | 1 | 128 | 120 | 8 |
| ``RepeatPreviousFar-v1`` | 32 | 32 | 129 | 4 | 1 |

The second task tests only a longer delay, which is why its symbols are far apart. With a symbol at every step and a
delay of 32, a policy would have to remember 32 symbols at once. It might then fail for lack of memory or training time,
not because of the delay.

An action affects only its own reward. A discount of 0 therefore tells a learner all about its actions, and one near 1
adds the noise of all later answers to the credit of each. In the second task a discount between them helps: values then
depend on the number of steps to the next answer, and a network that learns to count them learns to remember.

References:
    Morad and others, "POPGym: Benchmarking Partially Observable Reinforcement Learning" (2023), for the task and the
    scale of its rewards. POPGym's ``k`` is the delay plus 1, and its symbols come from a deck of cards, which a policy
    can count. Bakker, "Reinforcement Learning with Long Short-Term Memory" (2001), for one symbol to remember over a
    growing number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from distpolicy.environments.fixed_length_vector_env import FixedLengthVectorEnv
from distpolicy.errors import ConfigError


class RepeatPreviousEnv(gym.Env):
    """Shows a symbol at every ``spacing``-th step. ``delay`` steps later the action must name that symbol.

    Symbols are drawn uniformly and independently of each other.

    - Observation: Box float32 ``[num_symbols]``, the symbol one-hot; zeros at a step without a symbol.
    - Action: Discrete(num_symbols). It counts as an answer if a symbol was shown ``delay`` steps before.
    - Reward: ``1 / n`` for a right answer and ``-1 / n`` for a wrong one, where ``n`` is the number of answers in an
      episode, so a return lies in [-1, 1]. Other actions have reward 0.
    - Episode: truncated after ``episode_length`` steps.

    A policy without memory can only guess, with a mean return of ``2 / num_symbols - 1`` (-0.5 for four symbols). Above
    0.9, more than 19 in 20 answers are right.

    Args:
        delay: Number of steps between a symbol and its answer, a multiple of ``spacing``.
        spacing: Number of steps from one symbol to the next. ``delay / spacing`` symbols must be remembered at a time.
        num_symbols: Number of different symbols.
        episode_length: Number of actions in an episode.

    Raises:
        ConfigError: If an argument is too small, or ``delay`` is not a multiple of ``spacing``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, delay: int = 8, spacing: int = 1, num_symbols: int = 4, episode_length: int = 128) -> None:
        self._rules = RepeatPreviousRules(delay, spacing, num_symbols, episode_length)
        self.observation_space = self._rules.observation_space
        self.action_space = self._rules.action_space
        self._symbols = np.zeros((0, 1), np.int64)
        self._num_steps = episode_length

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draws an episode's symbols and shows the first."""
        super().reset(seed=seed)
        self._symbols = self._rules.draw(self.np_random, 1)
        self._num_steps = 0
        return self._rules.observations(self._symbols[0])[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Rewards the action and shows the next symbol.

        Raises:
            gymnasium.error.ResetNeeded: If no episode is in progress.
        """
        if self._num_steps == self._rules.episode_length:
            raise gym.error.ResetNeeded("RepeatPreviousEnv: call reset before the first step and after the last one")
        reward = float(self._rules.rewards(self._symbols, action, self._num_steps)[0])
        self._num_steps += 1
        observation = self._rules.observations(self._symbols[self._num_steps])[0]
        return observation, reward, False, self._num_steps == self._rules.episode_length, {}


class RepeatPreviousVectorEnv(FixedLengthVectorEnv):
    """Steps N environments like :class:`RepeatPreviousEnv` in NumPy arrays.

    Args:
        num_envs: Number of environments, N.
        delay: See :class:`RepeatPreviousEnv`.
        spacing: See :class:`RepeatPreviousEnv`.
        num_symbols: See :class:`RepeatPreviousEnv`.
        episode_length: See :class:`RepeatPreviousEnv`.
    """

    def __init__(
        self, num_envs: int = 1, delay: int = 8, spacing: int = 1, num_symbols: int = 4, episode_length: int = 128
    ) -> None:
        self._rules = RepeatPreviousRules(delay, spacing, num_symbols, episode_length)
        super().__init__(num_envs, self._rules.observation_space, self._rules.action_space, episode_length)
        self._symbols = np.zeros((0, num_envs), np.int64)

    def _begin(self) -> np.ndarray:
        self._symbols = self._rules.draw(self.np_random, self.num_envs)
        return self._rules.observations(self._symbols[0])

    def _advance(self, actions: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        return self._rules.observations(self._symbols[step + 1]), self._rules.rewards(self._symbols, actions, step)


@dataclass(frozen=True)
class RepeatPreviousRules:
    """The rules of the task, which both classes share. :class:`RepeatPreviousEnv` explains the arguments."""

    delay: int
    spacing: int
    num_symbols: int
    episode_length: int

    def __post_init__(self) -> None:
        for name, least in (("delay", 1), ("spacing", 1), ("num_symbols", 2), ("episode_length", self.delay + 1)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"RepeatPrevious: {name} must be {least} or more, but is {value}")
        if self.delay % self.spacing:
            raise ConfigError(
                f"RepeatPrevious: delay must be a multiple of spacing {self.spacing}, but is {self.delay}"
            )

    @property
    def observation_space(self) -> gym.spaces.Box:
        """Observation space of one environment."""
        return gym.spaces.Box(0.0, 1.0, (self.num_symbols,), np.float32)

    @property
    def action_space(self) -> gym.spaces.Discrete:
        """Action space of one environment."""
        return gym.spaces.Discrete(self.num_symbols)

    def draw(self, generator: np.random.Generator, num_slots: int) -> np.ndarray:
        """Draws the symbols of an episode, int64 ``[episode_length + 1, num_slots]``; -1 at steps without a symbol."""
        symbols = np.full((self.episode_length + 1, num_slots), -1)
        shown = symbols[:: self.spacing]
        shown[:] = generator.integers(self.num_symbols, size=shown.shape)
        return symbols

    def observations(self, symbols: np.ndarray) -> np.ndarray:
        """Returns the observations float32 ``[num_slots, num_symbols]`` of symbols ``[num_slots]``."""
        return (symbols[:, np.newaxis] == np.arange(self.num_symbols)).astype(np.float32)

    def rewards(self, symbols: np.ndarray, actions: Any, step: int) -> np.ndarray:
        """Returns the rewards float64 ``[num_slots]`` for actions ``[num_slots]`` at a step, counted from 0.

        Args:
            symbols: The result of :meth:`draw`.
            actions: Integers ``[num_slots]``.
            step: Number of the step in the episode.
        """
        asked = step - self.delay
        if asked < 0 or asked % self.spacing:
            return np.zeros(symbols.shape[1])
        num_answers = 1 + (self.episode_length - 1 - self.delay) // self.spacing
        return np.where(symbols[asked] == actions, 1.0, -1.0) / num_answers


for _id, _arguments in (
    ("RepeatPrevious-v1", {"delay": 8, "spacing": 1, "episode_length": 128}),
    ("RepeatPreviousFar-v1", {"delay": 32, "spacing": 32, "episode_length": 129}),
):
    gym.register(
        _id,
        entry_point=f"{__name__}:RepeatPreviousEnv",
        vector_entry_point=f"{__name__}:RepeatPreviousVectorEnv",
        reward_threshold=0.9,
        kwargs=_arguments,
    )
