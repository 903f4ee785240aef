"""Segments of replay: what was written at any time before, and the state of now, make the whole buffer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_streams import Stream, assert_same, put_back, rollout_of, saved, settings_of
from test_replay_frames import KINDS, Kind, Stacks

from distpolicy.utils.nests.array_nest import flatten
from workers.experience.experience import Experience
from workers.experience.factory import make_experience
from workers.experience.replay import segments


class Store:
    """Keeps segments as a checkpoint store does: those that the last checkpoint names. Counts what it writes."""

    def __init__(self) -> None:
        self.state: dict[str, np.ndarray] = {}
        self.segments: dict[str, dict[str, np.ndarray]] = {}
        self.num_bytes: list[int] = []

    def save(self, experience: Experience) -> None:
        self.state = experience.state()
        names, new = experience.segments(list(self.segments))
        assert not set(new) & set(self.segments), "a segment is handed out again"
        self.segments = {name: new[name] if name in new else self.segments[name] for name in names}
        self.num_bytes.append(sum(array.nbytes for arrays in new.values() for array in arrays.values()))


def drawn(experience: Experience) -> list[bytes]:
    samples = list(experience.due(0.5, (1,)))[-2:]
    return [leaf.tobytes() for sample in samples for leaf in flatten((sample.experience, sample.weights))]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    num_steps=st.integers(1, 9),
    spare=st.integers(0, 25),
    num_inserts=st.integers(4, 16),
    save_every=st.integers(1, 5),
    priority_exponent=st.sampled_from([0.0, 0.5]),
    sequence_length=st.sampled_from([None, None, 3]),
    kind=st.sampled_from([None, *KINDS]),
    fails_to_write=st.booleans(),
    most=st.sampled_from([2, 3, 32]),
)
def test_a_buffer_comes_back_from_segments_of_any_time(
    seed: int,
    num_steps: int,
    spare: int,
    num_inserts: int,
    save_every: int,
    priority_exponent: float,
    sequence_length: int | None,
    kind: Kind | None,
    fails_to_write: bool,
    most: int,
) -> None:
    with pytest.MonkeyPatch.context() as patches:
        # So that segments are joined within a few saves.
        patches.setattr(segments, "_MOST", most)
        rng = np.random.default_rng(seed)
        streams = {slot: Stream(slot, rng, 0.05, 0.2) for slot in range(3)}
        stacks = None if kind is None else Stacks(kind)
        changes = {"priority_exponent": priority_exponent, "sequence_length": sequence_length}
        capacity = 3 * (num_steps + (sequence_length or 0) + 1 + spare)
        config = settings_of(capacity=capacity, samples_per_insert=64.0, **changes)  # type: ignore[arg-type]
        experience, store = make_experience(config), Store()
        for number in range(num_inserts):
            firsts = [first for first in range(3) if number == 0 or rng.random() < 0.7]
            rollouts = [rollout_of(streams, first, 1, num_steps, number) for first in firsts]
            if stacks is not None:
                rollouts = [stacks.added_to(rollout) for rollout in rollouts]
            experience.insert(rollouts)
            if number % save_every == 0:
                store.save(experience)
                if fails_to_write and rng.random() < 0.2:
                    store.segments.popitem()
                    continue
                restored = make_experience(config)
                put_back(restored, (store.state, store.segments))
                assert restored.metrics() == experience.metrics()
                assert_same(saved(restored), saved(experience))
        restored = make_experience(config)
        restored.restore(*saved(experience))
        again = rollout_of(streams, 0, 3, num_steps, num_inserts)
        for one in (experience, restored):
            one.insert([stacks.added_to(again) if stacks is not None else again])
        assert drawn(experience) == drawn(restored)


@pytest.mark.parametrize(
    ("num_kept", "num_saves", "times"), [(20, 100, 1.0), (50, 200, 3.0), (100, 300, 3.0), (1_000, 3_000, 4.0)]
)
def test_however_many_checkpoints_fill_a_buffer_a_step_is_written_a_few_times_on_average(
    num_kept: int, num_saves: int, times: float
) -> None:
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng, 0.05, 0.2) for slot in range(3)}
    num_steps = 4
    config = settings_of(capacity=3 * num_kept * num_steps, samples_per_insert=1.0)
    experience, store = make_experience(config), Store()
    for number in range(num_saves):
        experience.insert([rollout_of(streams, 0, 3, num_steps, number)])
        store.save(experience)
        assert len(store.segments) <= 32
        if number % 50 == 49:
            restored = make_experience(config)
            put_back(restored, (store.state, store.segments))
            assert_same(saved(restored), saved(experience))
    assert sum(store.num_bytes) <= times * num_saves * store.num_bytes[0] * 1.01
