"""RepeatPrevious: name the symbol that was shown some steps ago.

Importing this module registers two tasks, so that ``distpolicy.environments.memory_tasks:RepeatPrevious-v1`` is an id
for Gymnasium and for every command. Both have four symbols; all arguments are those of :class:`RepeatPreviousEnv`.

| id | delay | spacing | episode_length | answers that count | symbols to hold |
|---|---|---|---|---|---|
| ``RepeatPrevious-v1`` | 8 | 1 | 128 | 120 | 8 |
| ``RepeatPreviousFar-v1`` | 32 | 32 | 129 | 4 | 1 |

The second one is spaced out so that only the distance is greater. With a symbol at every step, a delay of 32 would ask
for 32 symbols at once, and a policy would fail for want of room in its state or of time to learn to use it, whatever it
makes of the distance.

An action changes nothing but its own reward, so that a learner's discount of 0 loses nothing, and one near 1 adds the
noise of all later answers to the credit of each.

References:
    Morad and others, "POPGym: Benchmarking Partially Observable Reinforcement Learning" (2023), for the task and the
    scale of its rewards; POPGym's ``k`` is the delay plus 1, and its symbols are a deck of cards, which a policy can
    count. Bakker, "Reinforcement Learning with Long Short-Term Memory" (2001), for one cue held over a growing
    distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from distpolicy.environments.fixed_length_vector_env import FixedLengthVectorEnv
from distpolicy.errors import ConfigError


class RepeatPreviousEnv(gym.Env):
    """Shows a symbol at every ``spacing``-th step; the action then has to name the one shown ``delay`` steps before.

    Symbols are drawn uniformly and independently of each other.

    - Observation: Box float32 ``[num_symbols]``, the symbol one-hot; zeros at a step that shows none.
    - Action: Discrete(num_symbols).
    - Reward: an answer that counts gives ``1 / n`` if it is right and ``-1 / n`` if it is wrong, where ``n`` is the
      number of them in an episode; so a return lies in [-1, 1]. The answer to every symbol but those of the first
      ``delay`` steps counts, and no other action does.
    - Episode: truncated after ``episode_length`` steps.

    Without memory no policy has a mean return above ``2 / num_symbols - 1`` (-0.5 for four symbols), which is that of
    guessing. Above 0.9, more than 19 in 20 answers are right.

    Args:
        delay: Steps between a symbol and the answer that names it; a multiple of ``spacing``.
        spacing: Steps from one symbol to the next. ``delay / spacing`` symbols have to be held at a time.
        num_symbols: Kinds of symbols.
        episode_length: Actions in an episode.

    Raises:
        ConfigError: If one of them is too small, or ``delay`` no multiple of ``spacing``.
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
        """Takes the answer to what was shown last, and shows what is next.

        Raises:
            gymnasium.error.ResetNeeded: If no episode is under way.
        """
        if self._num_steps == self._rules.episode_length:
            raise gym.error.ResetNeeded("RepeatPreviousEnv: call reset before the first step and after the last one")
        reward = float(self._rules.rewards(self._symbols, action, self._num_steps)[0])
        self._num_steps += 1
        observation = self._rules.observations(self._symbols[self._num_steps])[0]
        return observation, reward, False, self._num_steps == self._rules.episode_length, {}


class RepeatPreviousVectorEnv(FixedLengthVectorEnv):
    """N slots of :class:`RepeatPreviousEnv` in NumPy arrays.

    Args:
        num_envs: N.
        delay: As there, like the following.
        spacing: As there.
        num_symbols: As there.
        episode_length: As there.
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
    """What both forms go by; the arguments are those of :class:`RepeatPreviousEnv`."""

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
        """Of one slot."""
        return gym.spaces.Box(0.0, 1.0, (self.num_symbols,), np.float32)

    @property
    def action_space(self) -> gym.spaces.Discrete:
        """Of one slot."""
        return gym.spaces.Discrete(self.num_symbols)

    def draw(self, generator: np.random.Generator, num_slots: int) -> np.ndarray:
        """int64 ``[episode_length + 1, num_slots]``: the symbols of an episode, -1 where none is shown."""
        symbols = np.full((self.episode_length + 1, num_slots), -1)
        shown = symbols[:: self.spacing]
        shown[:] = generator.integers(self.num_symbols, size=shown.shape)
        return symbols

    def observations(self, symbols: np.ndarray) -> np.ndarray:
        """float32 ``[num_slots, num_symbols]`` of the symbols ``[num_slots]`` of a step."""
        return (symbols[:, np.newaxis] == np.arange(self.num_symbols)).astype(np.float32)

    def rewards(self, symbols: np.ndarray, actions: Any, step: int) -> np.ndarray:
        """float64 ``[num_slots]`` of the actions ``[num_slots]`` at a step, counted from 0, of an episode's symbols."""
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
