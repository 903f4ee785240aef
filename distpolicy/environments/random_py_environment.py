"""RandomPyEnvironment: random observations and random ends of episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs import array_spec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import StepType, TimeStep


class RandomPyEnvironment(PyEnvironment):
    """Draws observations uniformly from their spec. With a batch, all rows begin and end together.

    Args:
        observation_spec: Nest of array specs of one observation.
        action_spec: Nest of array specs of one action; None for an empty one.
        episode_end_probability: Probability that a step ends the episode.
        discount: Discount of each step that does not end the episode, a number or an array ``[B]``.
        reward_fn: Function of a step type, an action and an observation to rewards ``[B]``, or to a number without a
            batch; None for 0.
        batch_size: Number of rows, B; None for no batch dimension.
        auto_reset: Whether a step after LAST resets the environment.
        seed: Seed of the draws.
        render_size: Shape of the random images that :meth:`render` returns.
        min_duration: Number of steps before which no episode ends.
        max_duration: Number of steps at which every episode ends; None for no limit.

    Raises:
        ValueError: If the discounts are not as many as rows; when a step is taken, if the rewards are not.
    """

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any = None,
        episode_end_probability: float = 0.1,
        discount: Any = 1.0,
        reward_fn: Callable[[Any, Any, Any], Any] | None = None,
        batch_size: int | None = None,
        auto_reset: bool = True,
        seed: int = 42,
        render_size: Sequence[int] = (2, 2, 3),
        min_duration: int = 0,
        max_duration: int | None = None,
    ) -> None:
        super().__init__(handle_auto_reset=auto_reset)
        self._observation_spec = observation_spec
        self._action_spec = [] if action_spec is None else action_spec
        self._batch_size = batch_size
        self._outer = () if batch_size is None else (batch_size,)
        self._discount = np.asarray(discount, np.float32)
        if self._discount.shape not in ((), self._outer):
            raise ConfigError(f"discount must be a number or have shape {self._outer}, not {self._discount.shape}")
        self._reward_fn = reward_fn
        self._episode_end_probability = episode_end_probability
        self._min_duration, self._max_duration = min_duration, max_duration
        self._render_size = tuple(render_size)
        self._rng = np.random.RandomState(seed)
        self._num_steps = 0

    @property
    def batched(self) -> bool:
        """Whether there is a batch dimension."""
        return self._batch_size is not None

    @property
    def batch_size(self) -> int | None:
        """The number of rows; None if there is no batch dimension."""
        return self._batch_size

    def observation_spec(self) -> Any:
        return self._observation_spec

    def action_spec(self) -> Any:
        return self._action_spec

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """Returns a random image, uint8 ``[*render_size]``.

        Raises:
            ValueError: For another mode than ``rgb_array``.
        """
        if mode != "rgb_array":
            raise ConfigError(f"mode must be 'rgb_array', not {mode!r}")
        return self._rng.randint(0, 256, size=self._render_size, dtype=np.uint8)

    def _reset(self) -> TimeStep:
        self._num_steps = 0
        return ts.restart(self._observe(), self._batch_size)

    def _step(self, action: Any) -> TimeStep:
        if self._action_spec:
            spec = array_spec.add_outer_dims_nest(self._action_spec, self._outer) if self._outer else self._action_spec
            array_spec.assert_arrays_spec_nest(action, spec)
        self._num_steps += 1
        observation = self._observe()
        if self._ends():
            return ts.termination(observation, self._reward(StepType.LAST, action, observation))
        return ts.transition(observation, self._reward(StepType.MID, action, observation), self._discount)

    def _ends(self) -> bool:
        if self._num_steps < self._min_duration:
            return False
        if self._max_duration and self._num_steps >= self._max_duration:
            return True
        return bool(self._rng.uniform() < self._episode_end_probability)

    def _observe(self) -> Any:
        return array_spec.sample_spec_nest(self._observation_spec, self._rng, self._outer)

    def _reward(self, step_type: np.ndarray, action: Any, observation: Any) -> np.ndarray:
        if self._reward_fn is None:
            return np.zeros(self._outer, np.float32)
        reward = np.asarray(self._reward_fn(step_type, action, observation), np.float32)
        if reward.shape != self._outer:
            raise SpecMismatchError(f"reward_fn must return rewards of shape {self._outer}, not {reward.shape}")
        return reward
