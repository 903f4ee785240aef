"""Ring: the newest steps of every env slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType
from workers.experience.replay.column_kind import ColumnKind, column_kinds
from workers.experience.replay.columns import Column, KeptRows, Written
from workers.experience.replay.frames import FrameColumn, found_stack, possible_stack
from workers.experience.replay.structure import OBSERVATION, leaves_of

# Takes the bytes of all rows, and those of one row of a sample; raises if they do not fit.
MemoryCheck = Callable[[int, int], None]


class Inserted(NamedTuple):
    """What a rollout changed in a ring.

    Attributes:
        slots: int64 ``[B]``: the places of its env slots in the ring.
        first: int64 ``[B]``: the number of its first step in each slot.
        is_break: bool ``[B]``: whether its first step does not follow the slot's steps before, within an episode.
        rows: int64 ``[N]``: the rows that were written, and those that can no longer be used.
        num_transitions: Number of transitions that it brought.
    """

    slots: np.ndarray
    first: np.ndarray
    is_break: np.ndarray
    rows: np.ndarray
    num_transitions: int


class Ring:
    """Keeps ``length`` rows for each env slot, in one array a leaf. A row is a step: its observation and what followed.

    Rows are numbered over all slots: row ``slot * length + number % length`` holds the step of that number. The newest
    step of a slot, its *tip*, has an observation only; it is the next observation of the row before. The slot's next
    rollout normally begins with the same time step, and replaces the tip. If it does not, since rollouts were lost or
    another collector has taken the slot over, then the tip stays as a row from which no transition starts, and no
    transition is made up across the loss. Which step it is follows from ``Rollout.first_step`` alone: observations of
    different steps may be the same.

    Args:
        capacity: Rows over all slots.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Removes everything, and forgets the env slots."""
        self.columns: dict[str, Column] = {}
        self._allocate_rows(np.zeros(0, np.int64))

    def _allocate_rows(self, slots: np.ndarray) -> None:
        # Numbers over the whole run of the env slots; by slot the numbers of the oldest step and of the tip, or -1.
        self.slots = slots
        self.length = self._capacity // max(len(slots), 1)
        self.oldest, self.tip = np.zeros(len(slots), np.int64), np.full(len(slots), -1, np.int64)
        # By slot: the (generation, number) of the tip in the slot's stream; see Rollout.first_step.
        self.tip_step = np.full((len(slots), 2), -1, np.int64)
        # By row: whether a transition starts there, its type, and its weights' (generation, version).
        num_rows = self.length * len(slots)
        self.is_start, self.step_type = np.zeros(num_rows, np.bool_), np.zeros(num_rows, np.int8)
        self.weights_version = np.zeros((num_rows, 2), np.int32)

    def _row_arrays(self) -> list[np.ndarray]:
        return [getattr(self, name) for name in _ROW_ARRAYS]

    @property
    def num_rows(self) -> int:
        """Number of rows, used or not."""
        return len(self.is_start)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        own = sum(array.nbytes for array in self._row_arrays())
        return own + sum(column.nbytes for column in self.columns.values())

    def has_slots(self, rollouts: Sequence[Rollout]) -> bool:
        """Returns whether it has rows for all env slots of rollouts."""
        return bool(np.isin(slots_of(rollouts), self.slots).all())

    def allocate(self, rollouts: Sequence[Rollout], check_memory: MemoryCheck) -> None:
        """Makes the arrays for the env slots of these rollouts.

        Args:
            rollouts: The rollouts.
            check_memory: Called with the bytes of all rows, and of a row of a sample, before anything is allocated.
        """
        leaves = [(leaves_of(rollout), rollout.step_type) for rollout in rollouts]
        kinds = {}
        for path, leaf in leaves[0][0].items():
            is_observation = path.startswith(OBSERVATION)
            stack = found_stack([(one[path], types) for one, types in leaves]) if is_observation else None
            kinds[path] = ColumnKind(leaf.shape[2:], leaf.dtype, stack)
        self._allocate(slots_of(rollouts), kinds, check_memory)

    def check_room(self, rollout_steps: int, num_steps: int) -> None:
        """Checks that the rows of a slot are enough.

        Args:
            rollout_steps: Steps of a rollout.
            num_steps: The most steps after a row that are read with it.

        Raises:
            ConfigError: If they are not; says which capacity is.
        """
        least = rollout_steps + num_steps
        if self.length < least:
            raise ConfigError(
                f"a replay buffer of {self._capacity} steps is too small for rollouts from {len(self.slots)} "
                f"environments: set its capacity to {least * len(self.slots)} or more"
            )

    def check_memory(self, rollout: Rollout, check: MemoryCheck) -> None:
        """Calls a check of the memory for such rollouts. Images are taken for stacks of frames if they can be.

        Args:
            rollout: A rollout of all env slots.
            check: The check.
        """
        kinds = {}
        for path, leaf in leaves_of(rollout).items():
            stack = possible_stack(leaf.shape[2:], leaf.dtype) if path.startswith(OBSERVATION) else None
            kinds[path] = ColumnKind(leaf.shape[2:], leaf.dtype, stack)
        check(*self._bytes_for(rollout.num_slots, kinds))

    def _bytes_for(self, num_slots: int, kinds: Mapping[str, ColumnKind]) -> tuple[int, int]:
        """Returns the bytes of all rows, and of one row of a sample."""
        length = self._capacity // num_slots
        own = num_slots * length * sum(array[:1].nbytes for array in self._row_arrays())
        columns = sum(kind.column_bytes(num_slots, length) for kind in kinds.values())
        return own + columns, sum(kind.num_bytes for kind in kinds.values())

    def _allocate(self, slots: np.ndarray, kinds: Mapping[str, ColumnKind], check: MemoryCheck) -> None:
        check(*self._bytes_for(len(slots), kinds))
        self._allocate_rows(slots)
        self.columns = {path: kind.column(len(slots), self.length) for path, kind in kinds.items()}

    def insert(self, rollout: Rollout) -> Inserted:
        """Writes the steps of a rollout.

        Raises:
            ConfigError: If its arrays have other shapes or dtypes than those that are kept.
        """
        slots, leaves = self._slots_of(rollout), leaves_of(rollout)
        self._check(leaves)
        num_steps = rollout.num_steps
        was_there = self.tip[slots] >= 0
        continues = was_there & (self.tip_step[slots] == rollout.first_step).all(axis=1)
        first = np.where(continues, self.tip[slots], self.tip[slots] + 1)
        rows = self._rows(slots[:, None], first[:, None] + np.arange(num_steps + 1))
        self.tip[slots] = first + num_steps
        self.tip_step[slots] = rollout.first_step + np.array([0, num_steps])
        self.oldest[slots] = np.maximum(self.oldest[slots], self.tip[slots] - self.length + 1)
        is_start = np.zeros(rows.shape, np.bool_)
        is_start[:, :-1] = rollout.step_weights > 0
        # All rows that are no longer kept are among those that are written.
        self.is_start[rows] = is_start
        self.step_type[rows] = rollout.step_type
        self.weights_version[rows] = rollout.weights_version[:, None]
        for path, leaf in leaves.items():
            self.columns[path].write(Written(slots, rows, continues), leaf)
        changed = np.concatenate([rows.ravel(), self._drop_lost(slots, num_steps)])
        is_break = was_there & ~continues & (rollout.step_type[:, 0] != StepType.FIRST)
        return Inserted(slots, first, is_break, changed, int(is_start.sum()))

    def after(self, rows: np.ndarray, num_steps: int | np.ndarray) -> np.ndarray:
        """Returns the rows of the steps that many steps later, of the same slot.

        Args:
            rows: int64 ``[...]``.
            num_steps: Fewer than ``length``.
        """
        found = rows + num_steps
        found -= self.length * (found >= (rows // self.length + 1) * self.length)
        return found

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Returns the numbers of the steps that rows hold."""
        slots, places = np.divmod(rows, self.length)
        return self.tip[slots] - (self.tip[slots] - places) % self.length

    def rows_kept(self) -> np.ndarray:
        """Returns the rows that are kept, slot by slot and in order of time, with the tips."""
        return self._rows_between(np.arange(len(self.slots)), self.oldest, self.tip + 1)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what changes, by name: the places of all steps, and the tips."""
        found = {name: getattr(self, name).copy() for name in _SLOT_ARRAYS}
        return found | self._state_of(self.tip, self.tip + 1)

    def segment(self, slots: np.ndarray, first: np.ndarray, end: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the state of steps that will never change, by name.

        Args:
            slots: int64 ``[S]``: numbers over the whole run of env slots.
            first: int64 ``[S]``: numbers of the first step of each; those that are no longer kept are left out.
            end: int64 ``[S]``: numbers behind the last step of each, up to its tip.
        """
        places = np.searchsorted(self.slots, slots)
        begins, ends = self.tip.copy(), self.tip.copy()
        begins[places], ends[places] = np.minimum(np.maximum(first, self.oldest[places]), end), end
        used = {"slots": self.slots.copy(), "first": begins, "end": ends}
        return used | self._state_of(begins, ends)

    def _state_of(self, first: np.ndarray, end: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the state of steps of all slots, slot by slot and in order of time."""
        rows = self._rows_between(np.arange(len(self.slots)), first, end)
        found = {name: getattr(self, name)[rows] for name in _ROW_ARRAYS}
        for path, column in self.columns.items():
            found |= {f"{name}/{path}": value for name, value in column.state(rows, end - first).items()}
        return found

    def restore(
        self,
        state: Mapping[str, np.ndarray],
        segments: Sequence[dict[str, np.ndarray]],
        check_memory: MemoryCheck,
        coming: Sequence[Rollout] = (),
    ) -> KeptRows:
        """Restores a ring of any capacity: the newest rows are kept.

        Args:
            state: A result of :meth:`state`.
            segments: Results of :meth:`segment` that hold all steps before the tips, in order of time. Each leaf is
                taken out when it is copied, so that its memory can be free.
            check_memory: See :meth:`allocate`.
            coming: Rollouts whose env slots come in addition.

        Returns:
            The rows of the ring that the state is from, without those slots, and with the tips.
        """
        self.clear()
        if not len(state.get("slots", ())):
            none = np.zeros(0, np.int64)
            return KeptRows(none, none, np.zeros(0, np.bool_), none)
        slots = np.union1d(state["slots"], slots_of(coming))
        self._allocate(slots, column_kinds(state), check_memory)
        places = np.searchsorted(slots, state["slots"])
        self.tip[places] = state["tip"]
        # Checkpoints of earlier versions do not have it. No episode goes on from their last rows.
        self.tip_step[places] = state.get("tip_step", -1)
        self.oldest[places] = np.maximum(state["oldest"], state["tip"] - self.length + 1)
        for part in (*segments, {**state, "first": state["tip"], "end": state["tip"] + 1}):
            kept = self._kept_rows(part["slots"], part["first"], part["end"])
            for name in _ROW_ARRAYS:
                getattr(self, name)[kept.rows] = part[name][kept.is_kept]
            for path, column in self.columns.items():
                column.restore({name: part.pop(f"{name}/{path}") for name in column.names}, kept)
        self._drop_lost(np.arange(len(slots)), self.length)
        return self._kept_rows(state["slots"], state["oldest"], state["tip"] + 1)

    def _kept_rows(self, slots: np.ndarray, first: np.ndarray, end: np.ndarray) -> KeptRows:
        """Returns which of these steps are kept, and where."""
        places, counts = np.searchsorted(self.slots, slots), end - first
        numbers = np.concatenate([np.arange(*ends) for ends in zip(first, end, strict=True)])
        is_kept = numbers >= np.repeat(self.oldest[places], counts)
        return KeptRows(places, counts, is_kept, self._rows_between(places, first, end)[is_kept])

    def _rows_between(self, places: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Returns the rows of steps from ``first`` to before ``end``, slot by slot."""
        found = [self._rows(place, np.arange(*ends)) for place, *ends in zip(places, first, end, strict=True)]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def _rows(self, slots: np.ndarray | int, numbers: np.ndarray) -> np.ndarray:
        return slots * self.length + numbers % self.length

    def _drop_lost(self, slots: np.ndarray, num_rows: int) -> np.ndarray:
        """Drops the oldest rows of which a leaf was written over in part; returns them, int64 ``[N]``.

        Args:
            slots: int64 ``[B]``.
            num_rows: Number of rows to look at at a time.
        """
        dropped = [np.zeros(0, np.int64)]
        for column in (one for one in self.columns.values() if isinstance(one, FrameColumn)):
            is_done = False
            while not is_done:
                numbers = self.oldest[slots, None] + np.arange(num_rows)
                rows = self._rows(slots[:, None], numbers)
                is_lost = column.is_lost(slots, rows) & (numbers < self.tip[slots, None])
                dropped.append(rows[is_lost])
                self.oldest[slots] += is_lost.sum(axis=1)
                is_done = not is_lost[:, -1].any()
        found = np.concatenate(dropped)
        self.is_start[found] = False
        return found

    def _slots_of(self, rollout: Rollout) -> np.ndarray:
        """Returns the places in :attr:`slots` of a rollout's env slots, int64 ``[B]``."""
        return np.searchsorted(self.slots, int(rollout.first_slot) + np.arange(rollout.num_slots))

    def _check(self, leaves: Mapping[str, np.ndarray]) -> None:
        kept = {path: (column.shape, column.dtype) for path, column in self.columns.items()}
        came = {path: (array.shape[2:], array.dtype) for path, array in leaves.items()}
        for path in sorted(kept.keys() | came.keys()):
            if kept.get(path) != came.get(path):
                raise ConfigError(
                    f"the replay buffer keeps {_described(kept.get(path))} as {path}, but a rollout brings "
                    f"{_described(came.get(path))}: go on with the environment and the agent that it was filled with"
                )


_SLOT_ARRAYS = ("slots", "oldest", "tip", "tip_step")
_ROW_ARRAYS = ("is_start", "step_type", "weights_version")


def slots_of(rollouts: Sequence[Rollout]) -> np.ndarray:
    """Returns the numbers of the env slots of rollouts, each once and in order."""
    found = [int(one.first_slot) + np.arange(one.num_slots) for one in rollouts]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *found]))


def _described(kind: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return "nothing" if kind is None else f"{kind[1]} {list(kind[0])}"
