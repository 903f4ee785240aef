from __future__ import annotations

import numpy as np
import pytest
from dataset_rollouts import FIRST, LAST, MID
from hypothesis import given
from hypothesis import strategies as st

from workers.datasets.episode_index import SlotCounters, SlotLimits

SLOTS = np.arange(2)


def stream(rng: np.random.Generator, num_steps: int, going_on: int = LAST) -> np.ndarray:
    """Step types int32 ``[num_steps + 1]`` of one slot, which goes on after a step type; episodes of about 4 steps."""
    types = [FIRST if going_on == LAST else going_on]
    while len(types) <= num_steps:
        types.append(FIRST if types[-1] == LAST else LAST if rng.random() < 0.3 else MID)
    return np.array(types, np.int32)


def rollouts_of(seed: int, num_rollouts: int, num_steps: int) -> list[np.ndarray]:
    """Step types ``[2, num_steps + 1]`` of rollouts that follow on one another."""
    rng = np.random.default_rng(seed)
    whole = np.stack([stream(rng, num_rollouts * num_steps) for _ in SLOTS])
    return [whole[:, start * num_steps : (start + 1) * num_steps + 1] for start in range(num_rollouts)]


def test_without_limits_no_slot_is_ever_finished() -> None:
    counters = SlotCounters({}, 0)
    counters.advance(rollouts_of(0, 1, 50)[0], 0)
    assert not counters.finished(SLOTS)


def test_no_step_is_kept_at_or_beyond_a_slots_limit() -> None:
    counters = SlotCounters({}, 0, SlotLimits(next_steps={0: 5, 1: 0}))
    types = np.array([[FIRST, MID, LAST, FIRST, MID, MID, MID, MID, LAST], [FIRST] + [MID] * 8], np.int32)
    places = counters.advance(types, 0)
    # The transition from LAST to FIRST is no step.
    assert places.keep.tolist() == [[True, True, False, True, True, True, False, False], [False] * 8]
    assert counters.next_steps(SLOTS).tolist() == [5, 0]
    assert counters.finished(SLOTS)


def test_an_episode_beyond_a_slots_limit_is_not_begun() -> None:
    counters = SlotCounters({}, 0, SlotLimits(num_episodes={0: 2, 1: 1}))
    types = np.array([[FIRST, MID, LAST, FIRST, LAST, FIRST, MID], [FIRST, MID, MID, MID, MID, MID, MID]], np.int32)
    places = counters.advance(types, 0)
    assert places.keep.tolist() == [[True, True, False, True, False, False], [True] * 6]
    assert counters.finished(np.array([0]))
    assert not counters.finished(SLOTS)
    again = counters.advance(np.array([[MID, LAST, FIRST], [MID, LAST, FIRST]], np.int32), 0)
    assert again.keep.tolist() == [[False, False], [True, False]]
    assert counters.finished(SLOTS)


def test_a_resumed_slot_stops_at_the_same_step() -> None:
    counters = SlotCounters({0: 7, 1: 10}, 1, SlotLimits(next_steps={0: 10, 1: 10}))
    assert counters.finished(np.array([1]))
    places = counters.advance(np.array([[FIRST] + [MID] * 6, [FIRST] + [MID] * 6], np.int32), 0)
    assert places.step[0, places.keep[0]].tolist() == [7, 8, 9]
    assert not places.keep[1].any()


@pytest.mark.parametrize("left", [0, -2])
def test_a_slot_with_no_episode_left_keeps_nothing(left: int) -> None:
    counters = SlotCounters({}, 1, SlotLimits(num_episodes={0: left, 1: left}))
    assert counters.finished(SLOTS)
    assert not counters.advance(rollouts_of(3, 1, 20)[0], 0).keep.any()
    assert counters.next_steps(SLOTS).tolist() == [0, 0]


@given(
    seed=st.integers(0, 1_000),
    num_steps=st.integers(1, 9),
    limits=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    by_steps=st.booleans(),
)
def test_what_is_kept_is_the_beginning_of_what_is_kept_without_limits(
    seed: int, num_steps: int, limits: tuple[int, int], by_steps: bool
) -> None:
    quotas = dict(enumerate(limits))
    limited = SlotCounters({}, 0, SlotLimits(quotas) if by_steps else SlotLimits(num_episodes=quotas))
    free = SlotCounters({}, 0)
    kept: list[list[int]] = [[], []]
    ended = [0, 0]
    for types in rollouts_of(seed, 8, num_steps):
        some, every = limited.advance(types, 0), free.advance(types, 0)
        assert not (some.keep & ~every.keep).any()
        for slot in SLOTS:
            kept[slot] += some.step[slot, some.keep[slot]].tolist()
            assert np.array_equal(some.step[slot, some.keep[slot]], every.step[slot, some.keep[slot]])
            ended[slot] += int(np.count_nonzero(some.keep[slot] & (types[slot, 1:] == LAST)))
    for slot, limit in enumerate(limits):
        assert kept[slot] == list(range(len(kept[slot])))
        total = int(free.next_steps(SLOTS)[slot])
        if by_steps:
            assert len(kept[slot]) == min(limit, total)
        else:
            assert ended[slot] <= limit
        done = len(kept[slot]) >= limit if by_steps else ended[slot] >= limit
        assert limited.finished(np.array([slot])) == done
