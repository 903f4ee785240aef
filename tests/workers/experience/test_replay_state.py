"""The state of replay: a buffer that is restored goes on as the one that it was taken from."""

from __future__ import annotations

import io

import numpy as np
import pytest
from replay_streams import Stream, rollout_of, settings_of

from distpolicy.utils.nests.array_nest import flatten
from workers.experience.experience import Experience
from workers.experience.factory import make_experience

STEPS = 7


def update(experience: Experience, streams: dict[int, Stream], number: int) -> list[bytes]:
    """Inserts rollouts of uneven slots, and draws; returns the bytes of the samples."""
    rollouts = [rollout_of(streams, 0, 2, STEPS, number)]
    if number == 0 or number % 2:
        rollouts.append(rollout_of(streams, 2, 1, STEPS, number))
    experience.insert(rollouts)
    return [
        b"".join(np.asarray(leaf).tobytes() for leaf in flatten((sample.experience, sample.weights)))
        for sample in experience.due(0.1, (number,))
    ]


def through_a_file(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return dict(loaded)


@pytest.mark.parametrize("num_before", [1, 4, 12])
def test_a_restored_buffer_goes_on_with_the_same_bytes(num_before: int) -> None:
    config = settings_of(n_step=2, samples_per_insert=13.7)
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(3)}
    experience, restored = make_experience(config), make_experience(config)
    for number in range(num_before):
        update(experience, streams, number)
    state = through_a_file(experience.state())
    restored.restore(state)
    assert_same(restored.state(), state)
    ahead = [rollout_of(streams, 0, 3, STEPS, number) for number in range(9)]

    def go_on(one: Experience) -> list[bytes]:
        found = []
        for number, rollout in enumerate(ahead):
            one.insert([rollout])
            for sample in one.due(0.1, (number,)):
                found += [np.asarray(leaf).tobytes() for leaf in flatten((sample.experience, sample.weights))]
        return found

    want = go_on(experience)
    assert len(want) > 20
    assert go_on(restored) == want
    assert_same(restored.state(), experience.state())


def test_an_empty_state_empties_the_buffer() -> None:
    experience = make_experience(settings_of())
    rng = np.random.default_rng(0)
    update(experience, {slot: Stream(slot, rng) for slot in range(3)}, 0)
    experience.restore({})
    assert experience.metrics()["replay_size"] == 0
    assert update(experience, {slot: Stream(slot, rng) for slot in range(3)}, 0)


def test_the_state_of_an_unused_buffer_restores_it() -> None:
    experience = make_experience(settings_of())
    state = through_a_file(experience.state())
    rng = np.random.default_rng(0)
    update(experience, {slot: Stream(slot, rng) for slot in range(3)}, 0)
    experience.restore(state)
    assert_same(experience.state(), state)


def test_a_state_holds_only_rows_that_were_written() -> None:
    experience = make_experience(settings_of(capacity=6_000))
    rng = np.random.default_rng(0)
    update(experience, {slot: Stream(slot, rng) for slot in range(3)}, 0)
    rows = [len(value) for path, value in experience.state().items() if "values/" in path]
    assert rows
    assert set(rows) == {3 * (STEPS + 1)}


def test_a_larger_or_a_smaller_buffer_takes_the_newest_rows() -> None:
    experience = make_experience(settings_of(capacity=60))
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng, 0.0) for slot in range(3)}
    for number in range(6):
        update(experience, streams, number)
    state = experience.state()
    for capacity in (30, 300):
        other = make_experience(settings_of(capacity=capacity))
        other.restore(state)
        rows = other.state()["ring/values/action"]
        kept = min(20, capacity // 3)
        want = state["ring/values/action"].reshape(3, 20)[:, -kept:]
        np.testing.assert_array_equal(rows, want.ravel())
        assert other.metrics()["replay_size"] == other.state()["ring/is_start"].sum()
        assert update(other, streams, 7)


def assert_same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for path, value in left.items():
        assert value.dtype == right[path].dtype, path
        assert value.tobytes() == right[path].tobytes(), path
