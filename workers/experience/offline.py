"""OfflineExperience: draws transitions from datasets that were written before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distpolicy.agents.experience_config import Offline
from distpolicy.errors import ConfigError
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.nests.array_nest import map_structure
from workers.datasets.arrays import fingerprint, load_arrays, load_manifests, returns_to_go
from workers.experience.experience import Experience, Sample

# Path of the state.
_DATASET = "dataset"


class OfflineExperience(Experience):
    """Draws batches of transitions, each row with the same probability and independently of the others.

    A transition over n steps ends early where its episode ends, where a fault or the end of the data cut it, and is
    bootstrapped from the observation there unless the episode terminated.

    With ``returns``, samples have these arguments, each ``[K, B, ...]``:

    - ``return_to_go``: float32, the discounted rewards from the row to the last step of its episode that the data hold;
    - ``final_observation``: the observation after that step;
    - ``final_discount``: float32, by which the value of ``final_observation`` has to be multiplied before it is added.
      It is 0 after a termination. After a truncation or a cut the rewards that would have followed are unknown, and
      ``return_to_go`` alone is too low.

    Args:
        config: The settings.
        available_bytes: The memory that the data may take; None for what the machine has left.

    Raises:
        CheckpointError: If a dataset is missing or damaged.
        ConfigError: If the datasets do not fit together or into the memory, or have no transition.
    """

    def __init__(self, config: Offline, available_bytes: int | None = None) -> None:
        self._config = config
        # Once: a job may add steps meanwhile.
        manifests = load_manifests(config.folders)
        self._fingerprint = fingerprint(manifests)
        # The first observation, the last one, and that of the episode's end.
        num_drawn = config.num_updates * config.batch_size * (3 if config.returns else 2)
        self._arrays = load_arrays(config.folders, available_bytes, num_drawn, manifests)
        self._returns = returns_to_go(self._arrays, config.discount) if config.returns else None

    def insert(self, rollouts: Sequence[Rollout]) -> None:
        """Takes no rollouts.

        Raises:
            ConfigError: If there is one.
        """
        if rollouts:
            raise ConfigError("an agent that learns from a dataset takes no rollouts")

    def due(self, progress: float, seed: Sequence[int]) -> Iterator[Sample]:
        """Yields one sample of K batches."""
        shape = (self._config.num_updates, self._config.batch_size)
        chosen = np.random.default_rng(seed).integers(0, len(self._arrays.transitions), shape)
        yield self._sample(self._arrays.transitions[chosen])

    def zero_sample(self, rollout: Rollout) -> Sample:
        """Returns a sample of zeros; its shape does not depend on the rollout."""
        shape = (self._config.num_updates, self._config.batch_size)
        sample = self._sample(np.broadcast_to(self._arrays.transitions[:1], shape))
        experience, weights, arguments = map_structure(
            np.zeros_like, (sample.experience, sample.weights, sample.arguments)
        )
        return sample._replace(experience=experience, weights=weights, arguments=arguments)

    def state(self) -> dict[str, np.ndarray]:
        """Returns the fingerprint of the data. Draws follow from their seeds alone."""
        return {_DATASET: self._fingerprint}

    def restore(self, state: Mapping[str, np.ndarray], segments: Any = ()) -> None:
        """Checks that the data are those of the state.

        Raises:
            ConfigError: If they are not.
        """
        if not np.array_equal(state.get(_DATASET, ()), self._fingerprint):
            raise ConfigError(
                f"the checkpoint was learned from other data than {', '.join(self._config.folders)} holds now: give "
                "the dataset as it was then, or begin a new run"
            )

    def _sample(self, rows: np.ndarray) -> Sample:
        """Returns the transitions that begin at these rows.

        Args:
            rows: int64 ``[K, B]``.
        """
        arrays = self._arrays
        last, reward, discount = self._n_steps(rows)
        zeros = np.zeros_like(reward)
        transition = Transition(
            TimeStep(arrays.step_type[rows], zeros, zeros, _taken(arrays.observation, rows)),
            PolicyStep(_taken(arrays.action, rows), (), ()),
            TimeStep(
                arrays.next_step_type[last],
                reward,
                discount,
                _taken(arrays.observation, arrays.next_observation_at[last]),
            ),
        )
        return Sample(transition, np.ones_like(reward), self._arguments(rows), num_updates=len(rows))

    def _n_steps(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the last row of each transition, its reward and its discount.

        They are as in :func:`distpolicy.trajectories.transitions.to_n_step_transition`.
        """
        arrays, gamma = self._arrays, np.float32(self._config.discount)
        last, reward, discount = rows, arrays.reward[rows], arrays.discount[rows]
        for _ in range(self._config.n_step - 1):
            after = arrays.following[last]
            goes_on = after >= 0
            last = np.where(goes_on, after, last)
            share = gamma * discount
            reward = np.where(goes_on, reward + share * arrays.reward[last], reward)
            discount = np.where(goes_on, share * arrays.discount[last], discount)
        return last, reward, discount

    def _arguments(self, rows: np.ndarray) -> dict[str, Any]:
        if self._returns is None:
            return {}
        total, factor, final_at = self._returns
        return {
            "return_to_go": total[rows],
            "final_observation": _taken(self._arrays.observation, final_at[rows]),
            "final_discount": factor[rows],
        }


def _taken(nest: Any, rows: np.ndarray) -> Any:
    return map_structure(lambda leaf: leaf.take(rows, axis=0), nest)
