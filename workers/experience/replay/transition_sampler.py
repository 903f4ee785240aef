"""TransitionSampler: makes batches of n-step transitions from rows of a ring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.nests.array_nest import map_structure
from workers.experience.experience import Sample
from workers.experience.replay.columns import KeptRows, zero_rows
from workers.experience.replay.draws import Drawn
from workers.experience.replay.ring import Inserted, Ring
from workers.experience.replay.sampler import Sampler
from workers.experience.replay.structure import RolloutStructure

# Rows that are read together with their next ones, so that what both share is still in the processor's cache.
_CHUNK_BYTES = 2**23


class TransitionSampler(Sampler):
    """Takes n-step transitions out of a ring. Its places are the rows where they start.

    A transition covers n steps, or fewer: it ends with its episode, before a cut, and at the newest step. See
    :func:`distpolicy.trajectories.transitions.to_n_step_transition`.

    Args:
        ring: The rows.
        shape: ``(K, B)``.
        n_step: n.
        gamma: The discount factor.
    """

    def __init__(self, ring: Ring, shape: tuple[int, int], n_step: int, gamma: float) -> None:
        super().__init__(ring, shape)
        self._n_step, self._gamma = n_step, np.float32(gamma)
        self._zeros = np.zeros(shape, np.float32)

    @property
    def num_steps(self) -> int:
        """n."""
        return self._n_step

    @property
    def rows_of_sample(self) -> int:
        """Number of rows that a sample is made of."""
        return 2 * self._shape[0] * self._shape[1]

    @property
    def is_valid(self) -> np.ndarray:
        """bool ``[N]``: which rows a transition starts at."""
        return self._ring.is_start

    def begin(self, rollouts: Sequence[Rollout]) -> None:
        """Does nothing: everything is in the ring."""

    def insert(self, rollout: Rollout, inserted: Inserted) -> np.ndarray:
        """Returns the rows that changed."""
        return inserted.rows

    def sample(self, drawn: Drawn, structure: RolloutStructure) -> Sample:
        """Returns the transitions that start at rows."""
        rows = drawn.places
        last, reward, discount = self._returns(rows)

        def shaped(array: np.ndarray) -> np.ndarray:
            return array.reshape(*self._shape, *array.shape[1:])

        def now(path: str) -> np.ndarray:
            return shaped(self._taken(path, path, rows))

        def step_type(name: str, at: np.ndarray) -> np.ndarray:
            found = self._outputs.get(name, len(rows), (), np.int32)
            found[:] = self._ring.step_type[at]
            return shaped(found)

        observations = {path: self._taken_pair(path, rows, last) for path in structure.paths("observation")}
        transition = Transition(
            TimeStep(
                step_type("step_type", rows),
                self._zeros,
                self._zeros,
                structure.pack("observation", lambda path: shaped(observations[path][0])),
            ),
            PolicyStep(structure.pack("action", now), (), structure.pack("policy_info", now)),
            TimeStep(
                step_type("next/step_type", last),
                shaped(reward),
                shaped(discount),
                structure.pack("observation", lambda path: shaped(observations[path][1])),
            ),
        )
        return Sample(transition, drawn.weights, {}, self._shape[0])

    def zeros(self, rollout: Rollout) -> Sample:
        """Returns transitions of zeros."""

        def zero(leaf: np.ndarray) -> np.ndarray:
            return zero_rows(self._shape, leaf.shape[2:], leaf.dtype)

        number, step_type = np.zeros(self._shape, np.float32), np.zeros(self._shape, np.int32)
        observation = map_structure(zero, rollout.observation)
        transition = Transition(
            TimeStep(step_type, number, number, observation),
            PolicyStep(map_structure(zero, rollout.action), (), map_structure(zero, rollout.policy_info)),
            TimeStep(step_type, number, number, observation),
        )
        return Sample(transition, number, {}, self._shape[0])

    def first_rows(self, places: np.ndarray) -> np.ndarray:
        """Returns the places, which are rows."""
        return places

    def identities(self, places: np.ndarray) -> np.ndarray:
        """Returns the numbers of the steps in these rows."""
        return self._ring.numbers(places)

    def places_kept(self) -> np.ndarray:
        """Returns the ring's rows."""
        return self._ring.rows_kept()

    def restore(
        self, state: Mapping[str, np.ndarray], rows: KeptRows, coming: Sequence[Rollout] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows, and which of the state's they are."""
        return rows.rows, rows.is_kept

    def _returns(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the rows of the last steps, and the n-step rewards and discounts, each ``[N]``."""
        if self._n_step == 1:
            last = self._ring.after(rows, 1)
            return last, self._taken("reward", "reward", rows), self._taken("discount", "discount", rows)
        # Steps are the first dimension: NumPy is slow along short last ones.
        steps = self._ring.after(rows, np.arange(self._n_step)[:, None])
        goes_on = self._ring.is_start[steps]
        for step in range(1, self._n_step):
            goes_on[step] &= goes_on[step - 1]
        reward, discount = (
            self._taken(name, name, steps.ravel()).reshape(steps.shape) for name in ("reward", "discount")
        )
        reward, discount = n_step_return(reward, discount, goes_on, self._gamma)
        return self._ring.after(rows, goes_on.sum(axis=0)), reward, discount

    def _taken(self, name: str, path: str, rows: np.ndarray) -> np.ndarray:
        column = self._ring.columns[path]
        out = self._outputs.get(name, len(rows), column.shape, column.dtype)
        column.take(rows, out)
        return out

    def _taken_pair(self, path: str, rows: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns a leaf of both rows."""
        column = self._ring.columns[path]
        found, found_last = (
            self._outputs.get(f"{prefix}{path}", len(rows), column.shape, column.dtype) for prefix in ("", "next/")
        )
        step = max(1, _CHUNK_BYTES // max(1, found[0].nbytes))
        for begin in range(0, len(rows), step):
            part = slice(begin, begin + step)
            column.take(rows[part], found[part])
            column.take(last[part], found_last[part])
        return found, found_last


def n_step_return(
    reward: np.ndarray, discount: np.ndarray, goes_on: np.ndarray, gamma: np.floating
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ``r_0 + g d_0 r_1 + …`` and ``gⁿ⁻¹ d_0 … d_{n-1}`` over the first n steps, each ``[B]``.

    Args:
        reward: float32 ``[N, B]``.
        discount: float32 ``[N, B]``.
        goes_on: bool ``[N, B]``: True for the first n steps, n >= 1.
        gamma: g.
    """
    total, product, share = (np.full(reward.shape[1:], value, np.float32) for value in (0, 1, 1))
    for step_reward, step_discount, goes in zip(reward, discount, goes_on, strict=True):
        # Values after the end must not count, even if they are NaN.
        total += np.where(goes, share * step_reward, np.float32(0))
        step_discount = np.where(goes, step_discount, np.float32(1))
        product *= step_discount
        share *= gamma * step_discount
    powers = gamma ** np.arange(len(goes_on), dtype=np.float32)
    return total, product * powers[goes_on.sum(axis=0) - 1]
