"""Segments of a replay buffer: rows that a checkpoint writes once, however often it is saved."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_streams import Stream, rollout_of, settings_of
from test_replay_frames import Stacks

from workers.experience.experience import Experience
from workers.experience.factory import make_experience

Arrays = dict[str, np.ndarray]


class Checkpoints:
    """Saves a buffer again and again, as a checkpoint store does."""

    def __init__(self) -> None:
        self.kept: dict[str, Arrays] = {}
        self.state: Arrays = {}
        self.num_bytes: list[int] = []

    def save(self, experience: Experience) -> None:
        found = experience.segmented_state(list(self.kept))
        whole = experience.segmented_state(())
        for name, arrays in self.kept.items():
            if name in whole.names and name in whole.segments:
                newest = whole.segments[name]
                # Rows that were dropped meanwhile are not compared: a segment holds what was there when it was written.
                if all(np.array_equal(newest[key], arrays[key]) for key in ("first", "count")):
                    assert_same_rows(newest, arrays)
        assert set(found.segments) == set(found.names) - set(self.kept)
        self.kept = {name: self.kept.get(name) or found.segments[name] for name in found.names}
        self.state = found.state
        self.num_bytes.append(
            sum(array.nbytes for arrays in (found.state, *found.segments.values()) for array in arrays.values())
        )

    def load(self, experience: Experience) -> None:
        experience.restore(self.state, self.kept)


def assert_same_rows(left: Arrays, right: Arrays) -> None:
    for name in ("step_type", "values/reward", "values/action"):
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def assert_same(left: Arrays, right: Arrays) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    capacity=st.integers(40, 400),
    num_steps=st.integers(1, 9),
    num_inserts=st.integers(1, 40),
    save_every=st.integers(1, 6),
    priority_exponent=st.sampled_from([0.0, 0.6]),
    has_images=st.booleans(),
    uneven=st.booleans(),
)
def test_a_buffer_comes_back_from_its_segments_and_the_rest(
    seed: int,
    capacity: int,
    num_steps: int,
    num_inserts: int,
    save_every: int,
    priority_exponent: float,
    has_images: bool,
    uneven: bool,
) -> None:
    rng = np.random.default_rng(seed)
    streams = {slot: Stream(slot, rng, 0.05, 0.1) for slot in range(2)}
    config = settings_of(capacity=capacity, priority_exponent=priority_exponent, samples_per_insert=0.001)
    experience, checkpoints = make_experience(config), Checkpoints()
    stacks = Stacks(4, 2, True)
    for number in range(num_inserts):
        rollouts = [rollout_of(streams, 0, 2, num_steps, number)]
        if uneven and number and rng.random() < 0.5:
            rollouts = [rollout_of(streams, int(rng.integers(2)), 1, num_steps, number)]
        experience.insert([stacks.added_to(one) for one in rollouts] if has_images and not uneven else rollouts)
        if number % save_every == 0:
            checkpoints.save(experience)
            restored = make_experience(config)
            checkpoints.load(restored)
            assert_same(restored.state(), experience.state())
            assert restored.metrics()["replay_size"] == experience.metrics()["replay_size"]


def test_what_a_save_writes_does_not_grow_with_the_buffer() -> None:
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(2)}
    experience, checkpoints = make_experience(settings_of(capacity=4000, samples_per_insert=0.001)), Checkpoints()
    for number in range(60):
        experience.insert([rollout_of(streams, 0, 2, 50, number)])
        checkpoints.save(experience)
    whole = sum(array.nbytes for array in experience.state().values())
    # A sixteenth of the rows is not final yet, and as much was finished since the last save.
    assert max(checkpoints.num_bytes) < whole / 5


def test_a_buffer_of_another_capacity_keeps_the_newest_rows() -> None:
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(2)}
    config = settings_of(capacity=400, samples_per_insert=0.001)
    experience, checkpoints = make_experience(config), Checkpoints()
    for number in range(30):
        experience.insert([rollout_of(streams, 0, 2, 10, number)])
    checkpoints.save(experience)
    smaller = make_experience(dataclasses.replace(config, capacity=100))
    checkpoints.load(smaller)
    assert 50 <= smaller.metrics()["replay_size"] <= 100
    larger = make_experience(dataclasses.replace(config, capacity=1000))
    checkpoints.load(larger)
    assert larger.metrics()["replay_size"] == experience.metrics()["replay_size"]
    for number in range(30, 60):
        larger.insert([rollout_of(streams, 0, 2, 10, number)])
    again = Checkpoints()
    again.kept = checkpoints.kept
    again.save(larger)
    restored = make_experience(dataclasses.replace(config, capacity=1000))
    again.load(restored)
    assert_same(restored.state(), larger.state())


@pytest.mark.parametrize("in_checkpoints", [True, False])
def test_rows_are_left_out_if_checkpoints_do_not_hold_them(in_checkpoints: bool) -> None:
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(2)}
    experience = make_experience(settings_of(in_checkpoints=in_checkpoints))
    experience.insert([rollout_of(streams, 0, 2, 20, 0)])
    found = experience.segmented_state(())
    assert bool(found.state) is in_checkpoints
    assert bool(found.names) is in_checkpoints
