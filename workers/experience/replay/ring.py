"""Ring: the newest steps of every env slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.trajectories.rollout import Rollout
from workers.experience.replay.structure import leaves_of


class Written(NamedTuple):
    """What a rollout changed.

    Attributes:
        rows: int64 ``[B, T + 1]``: the rows of its steps; the last one is the tip.
        is_start: bool ``[B, T + 1]``: where a transition starts.
    """

    rows: np.ndarray
    is_start: np.ndarray


class Ring:
    """Keeps ``length`` rows for each env slot, in one array a leaf. A row is a step: its observation and what followed.

    Rows are numbered over all slots: row ``slot * length + number % length`` holds the step of that number. The newest
    step of a slot, its *tip*, has an observation only; it is the next observation of the row before. The slot's next
    rollout normally begins with the same time step, and replaces the tip. If it does not, since rollouts were lost,
    then the tip stays as a row from which no transition starts, and no transition is made up across the loss.

    Args:
        capacity: Rows over all slots.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Removes everything, and forgets the env slots."""
        self.length = 0
        # Numbers over the whole run of the env slots.
        self.slots = np.zeros(0, np.int64)
        # By slot: the numbers of the oldest step that is kept, and of the tip; -1 if there is none.
        self.oldest, self.tip = np.zeros(0, np.int64), np.zeros(0, np.int64)
        # By row: whether a transition starts there, its weights' (generation, version), and the leaves by path.
        self.is_start = np.zeros(0, np.bool_)
        self.step_type = np.zeros(0, np.int8)
        self.weights_version = np.zeros((0, 2), np.int32)
        self.leaves: dict[str, np.ndarray] = {}
        self.size = 0

    @property
    def num_rows(self) -> int:
        """Number of rows, used or not."""
        return len(self.is_start)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._row_arrays().values())

    def allocate(self, rollouts: Sequence[Rollout], num_steps: int) -> None:
        """Makes the arrays for the env slots of these rollouts.

        Args:
            rollouts: Rollouts of all env slots.
            num_steps: The steps after a row that are read with it.

        Raises:
            ConfigError: If a rollout does not fit.
        """
        slots = np.unique(np.concatenate([int(one.first_slot) + np.arange(one.num_slots) for one in rollouts]))
        length = self._capacity // len(slots)
        least = max(rollout.num_steps for rollout in rollouts) + num_steps
        if length < least:
            raise ConfigError(
                f"a replay buffer of {self._capacity} steps is too small for rollouts from {len(slots)} environments: "
                f"set its capacity to {least * len(slots)} or more"
            )
        self.slots, self.length = slots, length
        self.oldest, self.tip = np.zeros(len(slots), np.int64), np.full(len(slots), -1, np.int64)
        num_rows = len(slots) * length
        self.is_start = np.zeros(num_rows, np.bool_)
        self.step_type, self.weights_version = np.zeros(num_rows, np.int8), np.zeros((num_rows, 2), np.int32)
        self.leaves = {
            path: np.zeros((num_rows, *leaf.shape[2:]), leaf.dtype) for path, leaf in leaves_of(rollouts[0]).items()
        }

    def insert(self, rollout: Rollout) -> Written:
        """Writes the steps of a rollout.

        Raises:
            ConfigError: If its arrays have other shapes or dtypes than those that are kept.
        """
        slots, leaves = self._slots_of(rollout), leaves_of(rollout)
        self._check(leaves)
        num_steps = rollout.num_steps
        lost = (self.tip[slots] >= 0) & ~self._continues(slots, rollout, leaves)
        start = np.maximum(self.tip[slots] + lost, 0)
        rows = self._rows(slots[:, None], start[:, None] + np.arange(num_steps + 1))
        self.tip[slots] = start + num_steps
        self.oldest[slots] = np.maximum(self.oldest[slots], start + num_steps - self.length + 1)
        is_start = np.zeros(rows.shape, np.bool_)
        is_start[:, :-1] = rollout.step_weights > 0
        # All rows that are no longer kept are among those that are written.
        self.size += int(is_start.sum()) - int(self.is_start[rows].sum())
        self.is_start[rows] = is_start
        self.step_type[rows] = rollout.step_type
        self.weights_version[rows] = rollout.weights_version[:, None]
        for path, leaf in leaves.items():
            self.leaves[path][rows[:, : leaf.shape[1]]] = leaf
            if leaf.shape[1] == num_steps:
                self.leaves[path][rows[:, -1]] = 0
        return Written(rows, is_start)

    def after(self, rows: np.ndarray, num_steps: int | np.ndarray) -> np.ndarray:
        """Returns the rows of the steps that many steps later, of the same slot.

        Args:
            rows: int64 ``[...]``.
            num_steps: Fewer than ``length``.
        """
        found = rows + num_steps
        found -= self.length * (found >= (rows // self.length + 1) * self.length)
        return found

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state by name: the rows that were written, slot by slot and in order of time."""
        rows = self._kept_rows()
        arrays = {name: array[rows] for name, array in self._row_arrays().items()}
        return {"slots": self.slots.copy(), "oldest": self.oldest.copy(), "tip": self.tip.copy(), **arrays}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores a state from :meth:`state`, of a ring of any capacity: the newest rows are kept."""
        self.clear()
        if not len(state.get("slots", ())):
            return
        self.slots, self.tip = state["slots"].copy(), state["tip"].copy()
        self.length = self._capacity // len(self.slots)
        self.oldest = np.maximum(state["oldest"], self.tip - self.length + 1)
        kept = np.concatenate(
            [
                np.arange(first, last + 1) >= oldest
                for first, last, oldest in zip(state["oldest"], self.tip, self.oldest, strict=True)
            ]
        )
        num_rows = self.length * len(self.slots)
        rows = self._kept_rows()
        self.leaves = {name.removeprefix(_LEAF): array for name, array in state.items() if name.startswith(_LEAF)}
        for name, array in self._row_arrays().items():
            made = np.zeros((num_rows, *array.shape[1:]), state[name].dtype)
            made[rows] = state[name][kept]
            self._set_row_array(name, made)
        self.size = int(self.is_start.sum())

    def _row_arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in _ROW_ARRAYS} | {
            f"{_LEAF}{path}": array for path, array in self.leaves.items()
        }

    def _set_row_array(self, name: str, array: np.ndarray) -> None:
        if name.startswith(_LEAF):
            self.leaves[name.removeprefix(_LEAF)] = array
        else:
            setattr(self, name, array)

    def _kept_rows(self) -> np.ndarray:
        """Returns the rows that are kept, slot by slot and in order of time, with the tips."""
        found = [
            self._rows(slot, np.arange(oldest, tip + 1))
            for slot, (oldest, tip) in enumerate(zip(self.oldest, self.tip, strict=True))
        ]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def _rows(self, slots: np.ndarray | int, numbers: np.ndarray) -> np.ndarray:
        return slots * self.length + numbers % self.length

    def _slots_of(self, rollout: Rollout) -> np.ndarray:
        """Returns the places in :attr:`slots` of a rollout's env slots, int64 ``[B]``."""
        numbers = int(rollout.first_slot) + np.arange(rollout.num_slots)
        places = np.searchsorted(self.slots, numbers)
        if places[-1] >= len(self.slots) or not np.array_equal(self.slots[places], numbers):
            raise DistPolicyError(
                f"a rollout of the env slots {numbers[0]} to {numbers[-1]} came to a replay buffer that began with "
                f"the env slots {self.slots[0]} to {self.slots[-1]}"
            )
        return places

    def _check(self, leaves: Mapping[str, np.ndarray]) -> None:
        kept = {path: (array.shape[1:], array.dtype) for path, array in self.leaves.items()}
        came = {path: (array.shape[2:], array.dtype) for path, array in leaves.items()}
        for path in sorted(kept.keys() | came.keys()):
            if kept.get(path) != came.get(path):
                raise ConfigError(
                    f"the replay buffer keeps {_described(kept.get(path))} as {path}, but a rollout brings "
                    f"{_described(came.get(path))}: go on with the environment and the agent that it was filled with"
                )

    def _continues(self, slots: np.ndarray, rollout: Rollout, leaves: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns where a rollout begins with the tip's time step, bit for bit: bool ``[B]``."""
        tips = self._rows(slots, self.tip[slots])
        same = self.step_type[tips] == rollout.step_type[:, 0]
        for path, leaf in leaves.items():
            if path.startswith("observation"):
                same &= same_bits(self.leaves[path][tips], leaf[:, 0])
        return same


_LEAF = "rows/"
_ROW_ARRAYS = ("is_start", "step_type", "weights_version")


def _described(kind: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return "nothing" if kind is None else f"{kind[1]} {list(kind[0])}"


def same_bits(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns which rows of two arrays ``[B, ...]`` have the same bits, bool ``[B]``."""
    shape = (len(left), left[:1].nbytes)
    return (_as_bytes(left, shape) == _as_bytes(right, shape)).all(axis=1)


def _as_bytes(array: np.ndarray, shape: tuple[int, int]) -> Any:
    return np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8).reshape(shape)
