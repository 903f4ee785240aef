"""EpsilonGreedyPolicy over arrays: another policy's action, or with some probability a random one."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep


class EpsilonGreedyPolicy(PyPolicy):
    """Takes a random action with probability epsilon. In a batch all rows do, or none.

    The state is the greedy policy's, which stays as it was at a random action.

    Args:
        greedy_policy: The other policy.
        epsilon: Probability of a random action, in [0, 1].
        random_policy: The policy of random actions; None to draw them uniformly.
        epsilon_decay_end_count: Number of actions over which epsilon falls in a straight line; None to keep it.
        epsilon_decay_end_value: Epsilon from then on, below ``epsilon``.
        random_seed: Seed of the draws; None for one from the system.

    Raises:
        ValueError: If epsilon is not in [0, 1], or there is no lower value for it to fall to.
    """

    def __init__(
        self,
        greedy_policy: PyPolicy,
        epsilon: float,
        random_policy: PyPolicy | None = None,
        epsilon_decay_end_count: float | None = None,
        epsilon_decay_end_value: float | None = None,
        random_seed: int | None = None,
    ) -> None:
        if not 0.0 <= epsilon <= 1.0:
            raise ConfigError(f"epsilon must be in [0, 1], but is {epsilon}")
        if epsilon_decay_end_count is not None and (
            epsilon_decay_end_value is None or epsilon_decay_end_value >= epsilon
        ):
            raise ConfigError(f"epsilon_decay_end_value must be below {epsilon}, but is {epsilon_decay_end_value}")
        super().__init__(
            greedy_policy.time_step_spec,
            greedy_policy.action_spec,
            greedy_policy.policy_state_spec,
            greedy_policy.info_spec,
        )
        self._greedy_policy = greedy_policy
        self._random_policy = random_policy or RandomPyPolicy(
            greedy_policy.time_step_spec, greedy_policy.action_spec, seed=random_seed
        )
        self._epsilon = epsilon
        self._end_count, self._end_value = epsilon_decay_end_count, epsilon_decay_end_value
        self._random = np.random.default_rng(random_seed)
        self._count = 0

    def _get_initial_state(self, batch_size: int | None) -> Any:
        return self._greedy_policy.get_initial_state(batch_size)

    def _get_epsilon(self) -> float:
        """Returns the probability at the current action."""
        if self._end_count is None or self._end_value is None:
            return self._epsilon
        share = min((self._count - 1) / self._end_count, 1.0)
        return self._epsilon + share * (self._end_value - self._epsilon)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        if seed is not None:
            raise NotImplementedError(
                "EpsilonGreedyPolicy over arrays takes no seed; give random_seed to the constructor"
            )
        self._count += 1
        if self._random.random() < self._get_epsilon():
            return PolicyStep(self._random_policy.action(time_step).action, policy_state)
        return self._greedy_policy.action(time_step, policy_state)
