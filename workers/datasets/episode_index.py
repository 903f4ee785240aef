"""SlotCounters: numbers the steps and episodes of each env slot over successive rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.trajectories.time_step import StepType

# An episode id has 63 bits: the env slot, the generation, and the number of the episode within these two.
_SLOT_BITS, _GENERATION_BITS, _EPISODE_BITS = 20, 13, 30
MAX_SLOTS, MAX_GENERATIONS, MAX_EPISODES = 1 << _SLOT_BITS, 1 << _GENERATION_BITS, 1 << _EPISODE_BITS


def slot_and_generation(eps_id: np.ndarray) -> np.ndarray:
    """Returns a key of the env slot and generation of each episode id.

    Args:
        eps_id: int64 ``[N]``.

    Returns:
        int64 ``[N]``: equal for two episodes if and only if they have the same env slot and generation.
    """
    return eps_id >> _EPISODE_BITS


class Places(NamedTuple):
    """The slot, episode and step numbers of a rollout's transitions.

    Attributes:
        keep: bool ``[B, T]``: whether the transition belongs to the dataset. Transitions from LAST to FIRST and those
            beyond a limit do not.
        slot: int64 ``[B, T]``: the env slot.
        step: int64 ``[B, T]``: the step, counted over the env slot.
        eps_id: int64 ``[B, T]``: the episode id.
        t: int64 ``[B, T]``: the step, counted within the episode.
    """

    keep: np.ndarray
    slot: np.ndarray
    step: np.ndarray
    eps_id: np.ndarray
    t: np.ndarray


class SlotLimits(NamedTuple):
    """Where each env slot stops. The dataset's size does not depend on how env slots are spread over collectors.

    Attributes:
        next_steps: For each env slot, the step before which it stops, counted over the dataset; None for no limit.
        num_episodes: For each env slot, the number of whole episodes in this generation after which it stops; None
            for no limit.
    """

    next_steps: Mapping[int, int] | None = None
    num_episodes: Mapping[int, int] | None = None


class SlotCounters:
    """Counts the steps and episodes of env slots.

    Args:
        next_steps: The step at which each env slot goes on; an env slot that is not in it begins at 0.
        generation: Generation of the job; it is a part of episode ids.
        limits: Where env slots stop. Transitions beyond are not kept.

    Raises:
        ConfigError: If the generation does not fit into an episode id.
    """

    def __init__(self, next_steps: Mapping[int, int], generation: int, limits: SlotLimits = SlotLimits()) -> None:  # noqa: B008
        if not 0 <= generation < MAX_GENERATIONS:
            raise ConfigError(
                f"generation {generation} of a dataset is not in 0 to {MAX_GENERATIONS - 1}; begin a new dataset"
            )
        self._generation = generation
        self._given = dict(next_steps)
        self._next_step = np.zeros(0, np.int64)
        self._num_episodes = np.zeros(0, np.int64)
        self._next_t = np.zeros(0, np.int64)
        self._num_ended = np.zeros(0, np.int64)
        self._limits = limits

    def finished(self, slots: np.ndarray) -> bool:
        """Returns True if all these env slots have reached their limits.

        Args:
            slots: int ``[N]``: numbers of env slots.
        """
        self._grow(int(slots.max(initial=-1)) + 1)
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
        """Returns the step at which each of these env slots goes on.

        Args:
            slots: int ``[N]``: numbers of env slots.

        Returns:
            int64 ``[N]``.
        """
        self._grow(int(slots.max(initial=-1)) + 1)
        return self._next_step[slots]

    def advance(self, step_type: np.ndarray, first_slot: int, cuts: np.ndarray | None = None) -> Places:
        """Counts the next transitions of consecutive env slots.

        Args:
            step_type: int32 ``[B, T + 1]``.
            first_slot: Number of the env slot in row 0.
            cuts: bool ``[B, T]``: True where a fault cut an episode. Such an episode does not count towards
                ``num_episodes``. None if there are no cuts.

        Returns:
            The numbers of the transitions.

        Raises:
            ConfigError: If there are more env slots or episodes than fit into an episode id.
        """
        num_slots, num_steps = step_type.shape[0], step_type.shape[1] - 1
        self._grow(first_slot + num_slots)
        rows = slice(first_slot, first_slot + num_slots)
        before = step_type[:, :-1]
        first, keep = before == StepType.FIRST, before != StepType.LAST
        step = np.cumsum(keep, axis=1)
        step += self._next_step[rows, np.newaxis] - 1
        # A stream may begin inside an episode: that episode counts, though it has no FIRST.
        begun = np.maximum(self._num_episodes[rows], first[:, 0] == 0)
        episode = np.cumsum(first, axis=1)
        episode += begun[:, np.newaxis] - 1
        place = np.arange(num_steps)
        # The position of the episode's FIRST; it is negative if that was before this rollout.
        began = np.maximum.accumulate(np.where(first, place, -self._next_t[rows, np.newaxis]), axis=1)
        t = place - began
        slot = np.broadcast_to(np.arange(first_slot, first_slot + num_slots)[:, np.newaxis], keep.shape)
        if episode[:, -1].max(initial=0) >= MAX_EPISODES:
            raise ConfigError(
                f"an env slot has {MAX_EPISODES} episodes, more than fit into an episode id; begin a new dataset"
            )
        numbers = np.arange(first_slot, first_slot + num_slots)
        ends = (step_type[:, 1:] == StepType.LAST) & keep
        if cuts is not None:
            ends &= ~cuts
        # The number of whole episodes before each transition.
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

    def _grow(self, num_slots: int) -> None:
        """Adds counters until there are at least this many env slots."""
        counted = len(self._next_step)
        if num_slots <= counted:
            return
        if num_slots > MAX_SLOTS:
            raise ConfigError(
                f"env slot {num_slots - 1} is not in 0 to {MAX_SLOTS - 1}, which fit into a dataset; use fewer "
                "environments"
            )
        more = np.array([self._given.get(slot, 0) for slot in range(counted, num_slots)], np.int64)
        self._next_step = np.concatenate([self._next_step, more])
        self._num_episodes = np.concatenate([self._num_episodes, np.zeros_like(more)])
        self._next_t = np.concatenate([self._next_t, np.zeros_like(more)])
        self._num_ended = np.concatenate([self._num_ended, np.zeros_like(more)])


def _of_slots(limits: Mapping[int, int], slots: np.ndarray) -> np.ndarray:
    """Returns the limit of each env slot, int64 like ``slots``; the largest int64 stands for no limit."""
    unlimited = np.iinfo(np.int64).max
    return np.array([limits.get(int(slot), unlimited) for slot in slots], np.int64)
