"""Places of transitions in their slot and episode, counted over rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import StepType

# An episode id is 63 bits: slot, generation, number of the episode in the slot and generation.
_SLOT_BITS, _GENERATION_BITS, _EPISODE_BITS = 20, 13, 30
MAX_SLOTS, MAX_GENERATIONS, MAX_EPISODES = 1 << _SLOT_BITS, 1 << _GENERATION_BITS, 1 << _EPISODE_BITS


def slot_and_generation(eps_id: np.ndarray) -> np.ndarray:
    """The part of episode ids that is the same over one slot and generation: int64 ``[N]``."""
    return eps_id >> _EPISODE_BITS


class Places(NamedTuple):
    """Where the transitions of a rollout belong.

    Attributes:
        keep: bool ``[B, T]``: false at those from LAST to FIRST, which are no steps of an episode.
        slot: int64 ``[B, T]``.
        step: int64 ``[B, T]``, of the slot.
        eps_id: int64 ``[B, T]``.
        t: int64 ``[B, T]``: step of the episode.
    """

    keep: np.ndarray
    slot: np.ndarray
    step: np.ndarray
    eps_id: np.ndarray
    t: np.ndarray


class SlotLimits(NamedTuple):
    """Where slots stop, so that a dataset has its size however the slots are spread over collectors.

    Attributes:
        next_steps: For each slot the step before which it stops, counted over the dataset; None for no such limit.
        num_episodes: For each slot the number of whole episodes of this generation after which it stops; None for no
            limit.
    """

    next_steps: Mapping[int, int] | None = None
    num_episodes: Mapping[int, int] | None = None


class SlotCounters:
    """Counts the steps and episodes of slots.

    Args:
        next_steps: The step that each slot goes on with; 0 where there is none.
        generation: Generation of the job; decides episode ids, together with slot and number of the episode.
        limits: Where slots stop; transitions beyond are not kept.

    Raises:
        ConfigError: If the generation is beyond what an episode id holds.
    """

    def __init__(self, next_steps: Mapping[int, int], generation: int, limits: SlotLimits = SlotLimits()) -> None:  # noqa: B008
        if not 0 <= generation < MAX_GENERATIONS:
            raise ConfigError(
                f"generation {generation} of a dataset is outside 0 to {MAX_GENERATIONS - 1}; begin a new dataset"
            )
        self._generation = generation
        self._given = dict(next_steps)
        self._next_step = np.zeros(0, np.int64)
        self._num_episodes = np.zeros(0, np.int64)
        self._next_t = np.zeros(0, np.int64)
        self._num_ended = np.zeros(0, np.int64)
        self._limits = limits

    def finished(self, slots: np.ndarray) -> bool:
        """Whether all these slots are where they are to stop."""
        self._hold(int(slots.max(initial=-1)) + 1)
        steps, episodes = self._limits
        if steps is None and episodes is None:
            return False
        done = np.zeros(len(slots), np.bool_)
        if steps is not None:
            done |= self._next_step[slots] >= _of_slots(steps, slots)
        if episodes is not None:
            done |= self._num_ended[slots] >= _of_slots(episodes, slots)
        return bool(done.all())

    def next_steps(self, slots: np.ndarray) -> np.ndarray:
        """The step that each of these slots goes on with: int64 like ``slots``."""
        self._hold(int(slots.max(initial=-1)) + 1)
        return self._next_step[slots]

    def advance(self, step_type: np.ndarray, first_slot: int, cuts: np.ndarray | None = None) -> Places:
        """Counts the next transitions of consecutive slots.

        Args:
            step_type: int32 ``[B, T + 1]``.
            first_slot: Number of the slot in row 0.
            cuts: bool ``[B, T]``: where an episode was cut by a fault, which is none of ``num_episodes``; None for
                nowhere.

        Raises:
            ConfigError: If there are more slots or episodes than an episode id holds.
        """
        num_slots, num_steps = step_type.shape[0], step_type.shape[1] - 1
        self._hold(first_slot + num_slots)
        rows = slice(first_slot, first_slot + num_slots)
        before = step_type[:, :-1]
        first, keep = before == StepType.FIRST, before != StepType.LAST
        step = np.cumsum(keep, axis=1)
        step += self._next_step[rows, np.newaxis] - 1
        # A stream that begins inside an episode has that one before its first FIRST.
        begun = np.maximum(self._num_episodes[rows], first[:, 0] == 0)
        episode = np.cumsum(first, axis=1)
        episode += begun[:, np.newaxis] - 1
        place = np.arange(num_steps)
        # Of the episode's FIRST: before this rollout where it is negative.
        began = np.maximum.accumulate(np.where(first, place, -self._next_t[rows, np.newaxis]), axis=1)
        t = place - began
        slot = np.broadcast_to(np.arange(first_slot, first_slot + num_slots)[:, np.newaxis], keep.shape)
        if episode[:, -1].max(initial=0) >= MAX_EPISODES:
            raise ConfigError(f"a slot has {MAX_EPISODES} episodes, more than an episode id holds; begin a new dataset")
        numbers = np.arange(first_slot, first_slot + num_slots)
        ends = (step_type[:, 1:] == StepType.LAST) & keep
        if cuts is not None:
            ends &= ~cuts
        # Whole episodes before each transition.
        ended = np.cumsum(ends, axis=1) - ends + self._num_ended[rows, np.newaxis]
        if self._limits.next_steps is not None:
            keep = keep & (step < _of_slots(self._limits.next_steps, numbers)[:, np.newaxis])
        if self._limits.num_episodes is not None:
            keep = keep & (ended < _of_slots(self._limits.num_episodes, numbers)[:, np.newaxis])
        num_kept = np.count_nonzero(keep, axis=1)
        self._num_ended[rows] += np.count_nonzero(keep & ends, axis=1)
        eps_id = (((slot << _GENERATION_BITS) | self._generation) << _EPISODE_BITS) | episode
        self._next_step[rows] += num_kept
        self._num_episodes[rows] = episode[:, -1] + 1
        self._next_t[rows] = t[:, -1] + 1
        return Places(keep, slot, step, eps_id, t)

    def _hold(self, num_slots: int) -> None:
        held = len(self._next_step)
        if num_slots <= held:
            return
        if num_slots > MAX_SLOTS:
            raise ConfigError(f"slot {num_slots - 1} is beyond the {MAX_SLOTS} slots that a dataset holds; use fewer")
        more = np.array([self._given.get(slot, 0) for slot in range(held, num_slots)], np.int64)
        self._next_step = np.concatenate([self._next_step, more])
        self._num_episodes = np.concatenate([self._num_episodes, np.zeros_like(more)])
        self._next_t = np.concatenate([self._next_t, np.zeros_like(more)])
        self._num_ended = np.concatenate([self._num_ended, np.zeros_like(more)])


def _of_slots(limits: Mapping[int, int], slots: np.ndarray) -> np.ndarray:
    """The limit of each slot; none where there is none."""
    unlimited = np.iinfo(np.int64).max
    return np.array([limits.get(int(slot), unlimited) for slot in slots], np.int64)
