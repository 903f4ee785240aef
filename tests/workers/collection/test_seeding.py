from __future__ import annotations

import numpy as np
import pytest

from workers.collection.seeding import SlotSeeds, slot_seeds


def test_a_slots_seeds_do_not_depend_on_which_slots_are_made_with_it() -> None:
    together = slot_seeds(seed=3, first_slot=0, num_slots=6, generation=1)
    apart = slot_seeds(seed=3, first_slot=4, num_slots=2, generation=1)
    assert apart.environment == together.environment[4:]
    np.testing.assert_array_equal(apart.policy, together.policy[4:])


def test_seeds_are_the_children_that_seed_sequence_spawns() -> None:
    training = np.random.SeedSequence(7).spawn(1)[0]
    words = training.spawn(3)[2].spawn(5)[4].generate_state(2, np.uint64)
    made = slot_seeds(seed=7, first_slot=4, num_slots=1, generation=2)
    assert made.environment == [int(words[0] % 2**31)]
    assert made.policy.tolist() == [int(words[1])]


@pytest.mark.parametrize("change", [{"seed": 1}, {"generation": 1}, {"stream": 1}, {"first_slot": 4}])
def test_seeds_of_another_run_generation_stream_or_slot_differ(change: dict[str, int]) -> None:
    base = {"seed": 0, "first_slot": 0, "num_slots": 4, "generation": 0, "stream": 0}
    one, other = slot_seeds(**base), slot_seeds(**{**base, **change})
    assert not set(one.environment) & set(other.environment)
    assert not set(one.policy.tolist()) & set(other.policy.tolist())


def test_environment_seeds_fit_what_gymnasium_takes() -> None:
    seeds = slot_seeds(seed=0, first_slot=0, num_slots=200, generation=0).environment
    assert all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)
    assert len(set(seeds)) == 200


def test_policy_seed_rows_are_int32_pairs_of_consecutive_uint64() -> None:
    seeds = SlotSeeds([0, 0], np.array([5, 2**40 + 2**32 - 1], np.uint64))
    rows = seeds.rows(first_step=0, num_steps=2)
    assert rows.shape == (2, 2, 2)
    assert rows.dtype == np.int32
    as_uint64 = np.ascontiguousarray(rows).view(np.uint64)[..., 0]
    assert as_uint64.tolist() == [[5, 2**40 + 2**32 - 1], [6, 2**40 + 2**32]]


def test_policy_seed_rows_go_on_where_the_last_ones_ended() -> None:
    seeds = slot_seeds(seed=0, first_slot=0, num_slots=3, generation=0)
    whole = seeds.rows(0, 7)
    np.testing.assert_array_equal(np.concatenate([seeds.rows(0, 3), seeds.rows(3, 4)]), whole)
    assert len({row.tobytes() for row in whole.reshape(-1, 2)}) == 21


def test_policy_seed_rows_wrap_around_at_the_end_of_uint64() -> None:
    seeds = SlotSeeds([0], np.array([2**64 - 1], np.uint64))
    assert seeds.rows(0, 2).tolist() == [[[-1, -1]], [[0, 0]]]
