"""SequenceSampler: makes batches of sequences with the recurrent states that the policy had at their beginnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType
from distpolicy.trajectories.trajectory_tuple import Trajectory
from distpolicy.utils.nests.array_nest import map_structure
from workers.experience.experience import Sample
from workers.experience.replay.columns import KeptRows, zero_rows
from workers.experience.replay.draws import Drawn
from workers.experience.replay.ring import Inserted, Ring
from workers.experience.replay.sampler import Sampler
from workers.experience.replay.structure import POLICY_STATE, RolloutStructure, states_of


class SequenceSampler(Sampler):
    """Takes sequences out of a ring (Kapturowski et al., "Recurrent Experience Replay", 2019).

    A sequence begins where a rollout began, since there the policy's state is known. It goes on over episodes' ends,
    after which networks reset their state, but not over steps that were lost within an episode. Its places are the
    newest beginnings of each env slot: as many as the ring can hold of the shortest rollouts so far.

    A sample is a Trajectory ``[K, B, burn_in + length + n, ...]``. The last step may be the newest one of its env
    slot, of which only the observation is known. Weights ``[K, B, burn_in + length + n]`` are 0 where a step is not a
    transition of the task. The argument ``policy_state`` is a nest ``[K, B, ...]``.

    Args:
        ring: The rows.
        shape: ``(K, B)``.
        burn_in: Steps before those that are learned from.
        length: Steps that are learned from.
        n_step: n, the steps that the last of them is bootstrapped over.
    """

    def __init__(self, ring: Ring, shape: tuple[int, int], burn_in: int, length: int, n_step: int) -> None:
        super().__init__(ring, shape)
        self._span = burn_in + length + n_step
        self._allocate(0, {})

    @property
    def num_steps(self) -> int:
        """Steps of a sequence."""
        return self._span

    @property
    def rows_of_sample(self) -> int:
        """Number of rows that a sample is made of."""
        return self._shape[0] * self._shape[1] * self._span

    @property
    def is_valid(self) -> np.ndarray:
        """bool ``[N]``: which places hold the beginning of a sequence that is there as a whole."""
        return self._is_valid

    def place_bytes(self, rollout: Rollout, num_rows: int) -> int:
        """Returns the bytes of the states at the beginnings."""
        return num_rows // rollout.num_steps * sum(leaf[:1].nbytes for leaf in states_of(rollout).values())

    def begin(self, rollouts: Sequence[Rollout]) -> None:
        """Makes room for the beginnings of all rollouts that the ring holds."""
        self._allocate(_shortest(rollouts), states_of(rollouts[0]))

    def has_room(self, rollouts: Sequence[Rollout]) -> bool:
        """Returns whether the ring cannot hold more beginnings of such rollouts than there are places."""
        return _shortest(rollouts) >= self._period

    def _allocate(self, period: int, states: Mapping[str, np.ndarray]) -> None:
        """Makes the arrays.

        Args:
            period: The fewest steps between two beginnings; 0 if there are none.
            states: By path, the leaves of any states ``[N, ...]``.
        """
        num_slots = len(self._ring.slots)
        self._period = period
        self._num_places = self._ring.length // period + 2 if period else 0
        # By slot: how many beginnings there ever were; and for the newest the numbers of their steps, or -1.
        self._counts = np.zeros(num_slots, np.int64)
        self._starts = np.full((num_slots, self._num_places), -1)
        self._is_valid = np.zeros(self._starts.size, np.bool_)
        self._states = {
            path: np.zeros((self._starts.size, *leaf.shape[1:]), leaf.dtype) for path, leaf in states.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        states = sum(array.nbytes for array in self._states.values())
        return super().nbytes + states + self._starts.nbytes + self._is_valid.nbytes

    def insert(self, rollout: Rollout, inserted: Inserted) -> np.ndarray:
        """Takes note of the rollout's beginnings, and of the sequences that are whole now or no longer."""
        slots, first = inserted.slots, inserted.first[:, None]
        starts = self._starts[slots]
        starts[inserted.is_break[:, None] & (starts < first) & (starts + self._span > first)] = -1
        new = self._counts[slots] % self._num_places
        self._counts[slots] += 1
        starts[np.arange(len(slots)), new] = inserted.first
        self._starts[slots] = starts
        for path, leaf in states_of(rollout).items():
            self._states[path][slots * self._num_places + new] = leaf
        return self._validate(slots, slots * self._num_places + new)

    def _validate(self, slots: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Finds out which places of slots are valid; returns those that changed, with those that are new."""
        places = slots[:, None] * self._num_places + np.arange(self._num_places)
        starts = self._starts[slots]
        is_valid = (starts >= self._ring.oldest[slots, None]) & (starts + self._span <= self._ring.tip[slots, None] + 1)
        changed = is_valid != self._is_valid[places]
        self._is_valid[places] = is_valid
        return np.union1d(places[changed], new)

    def sample(self, drawn: Drawn, structure: RolloutStructure) -> Sample:
        """Returns the sequences that begin at places."""
        rows = self._ring.after(self.first_rows(drawn.places)[:, None], np.arange(self._span))
        following = self._ring.after(rows, 1)
        next_step_type = self._ring.step_type[following].astype(np.int32)
        is_tip = self._ring.numbers(rows[:, -1]) == self._ring.tip[drawn.places // self._num_places]
        next_step_type[is_tip, -1] = StepType.MID

        def shaped(array: np.ndarray, *inner: int) -> np.ndarray:
            return array.reshape(*self._shape, *inner, *array.shape[1:])

        def taken(path: str) -> np.ndarray:
            column = self._ring.columns[path]
            out = self._outputs.get(path, rows.size, column.shape, column.dtype)
            column.take(rows.ravel(), out)
            return shaped(out, self._span)

        trajectory = Trajectory(
            step_type=shaped(self._ring.step_type[rows].astype(np.int32)),
            observation=structure.pack("observation", taken),
            action=structure.pack("action", taken),
            policy_info=structure.pack("policy_info", taken),
            next_step_type=shaped(next_step_type),
            reward=taken("reward"),
            discount=taken("discount"),
        )
        weights = drawn.weights[..., None] * shaped(self._ring.is_start[rows])
        state = structure.pack(POLICY_STATE, lambda path: shaped(self._states[path][drawn.places]))
        return Sample(trajectory, weights, {POLICY_STATE: state}, self._shape[0])

    def zeros(self, rollout: Rollout) -> Sample:
        """Returns sequences of zeros."""

        def zeros(leaf: np.ndarray) -> np.ndarray:
            return zero_rows((*self._shape, self._span), leaf.shape[2:], leaf.dtype)

        trajectory = rollout.trajectory
        state: Any = map_structure(
            lambda leaf: np.zeros((*self._shape, *leaf.shape[1:]), leaf.dtype), rollout.policy_state
        )
        weights = np.zeros((*self._shape, self._span), np.float32)
        return Sample(map_structure(zeros, trajectory), weights, {POLICY_STATE: state}, self._shape[0])

    def first_rows(self, places: np.ndarray) -> np.ndarray:
        """Returns the ring's rows at which sequences begin."""
        slots = places // self._num_places
        return slots * self._ring.length + self._starts.ravel()[places] % self._ring.length

    def identities(self, places: np.ndarray) -> np.ndarray:
        """Returns which of its slot's beginnings is at each place."""
        slots, offsets = np.divmod(places, self._num_places)
        newest = self._counts[slots] - 1
        return newest - (newest - offsets) % self._num_places

    def places_kept(self) -> np.ndarray:
        """Returns the places whose beginnings are still in the ring, slot by slot and in order of time."""
        newest = (self._counts[:, None] - 1 - np.arange(self._num_places)[::-1]) % max(self._num_places, 1)
        places = np.arange(len(self._counts))[:, None] * self._num_places + newest
        return places[self._starts.ravel()[places] >= self._ring.oldest[:, None]]

    def state(self) -> dict[str, np.ndarray]:
        """Returns the beginnings and their policy states."""
        places = self.places_kept()
        states = {path: array[places] for path, array in self._states.items()}
        return {
            "period": np.asarray(self._period),
            "counts": self._counts.copy(),
            "identities": self.identities(places),
            "starts": self._starts.ravel()[places],
            "slots": places // max(self._num_places, 1),
            **states,
        }

    def restore(
        self, state: Mapping[str, np.ndarray], rows: KeptRows, coming: Sequence[Rollout] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Restores a state from :meth:`state`."""
        states = {path: array for path, array in state.items() if path.startswith(POLICY_STATE)}
        period = int(state.get("period", 0))
        self._allocate(_shortest(coming, period), states)
        if not self._period:
            return np.zeros(0, np.int64), np.zeros(0, np.bool_)
        self._counts[rows.slots] = state["counts"]
        slots = rows.slots[state["slots"]]
        has_room = state["identities"] >= (self._counts - self._num_places)[slots]
        is_kept = has_room & (state["starts"] >= self._ring.oldest[slots])
        places = (slots * self._num_places + state["identities"] % self._num_places)[is_kept]
        self._starts.ravel()[places] = state["starts"][is_kept]
        for path, array in states.items():
            self._states[path][places] = array[is_kept]
        self._validate(np.arange(len(self._counts)), places)
        return places, is_kept


def _shortest(rollouts: Sequence[Rollout], *others: int) -> int:
    """Returns the number of steps of the shortest of these rollouts, and of others of so many steps."""
    return min([rollout.num_steps for rollout in rollouts] + list(others))
