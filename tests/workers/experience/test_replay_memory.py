"""A replay buffer that does not fit into memory is refused before it is made."""

from __future__ import annotations

import copy
import tracemalloc

import numpy as np
import pytest
from replay_streams import Saved, Stream, rollout_of, rows_of, saved, settings_of

from distpolicy.errors import ConfigError
from distpolicy.trajectories.rollout import Rollout
from workers.experience.factory import make_experience
from workers.experience.replay import memory

MIB = 2**20


def rollout(num_slots: int = 2, num_steps: int = 10) -> Rollout:
    rng = np.random.default_rng(0)
    made = rollout_of({slot: Stream(slot, rng) for slot in range(num_slots)}, 0, num_slots, num_steps, 0)
    image = np.zeros((num_slots, num_steps + 1, 64, 64), np.float32)
    return made._replace(observation={**made.observation, "image": image})


@pytest.fixture
def hundred_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 100 * MIB)


@pytest.mark.usefixtures("hundred_mebibytes")
@pytest.mark.parametrize(("name", "argument"), [("insert", [rollout()]), ("zero_sample", rollout())])
def test_a_buffer_that_does_not_fit_is_refused_in_one_line(name: str, argument: object) -> None:
    experience = make_experience(settings_of(capacity=10_000, num_updates=1))
    message = r"takes 0\.2 GiB, but 0\.1 GiB .*: set replay_capacity to \d+ or less"
    with pytest.raises(ConfigError, match=message) as info:
        getattr(experience, name)(argument)
    assert "\n" not in str(info.value)
    # What it says to set is accepted.
    capacity = int(str(info.value).split(" or less")[0].split()[-1])
    other = make_experience(settings_of(capacity=capacity, num_updates=1))
    other.zero_sample(rollout())
    other.insert([rollout()])
    assert 0.7 * 100 < other.metrics()["replay_memory_mib"] < 100


@pytest.mark.usefixtures("hundred_mebibytes")
def test_samples_that_do_not_fit_are_refused() -> None:
    experience = make_experience(settings_of(num_updates=1000))
    with pytest.raises(ConfigError, match="set batch_size or updates_per_call to a lower value"):
        experience.insert([rollout()])


@pytest.mark.usefixtures("hundred_mebibytes")
def test_a_state_that_does_not_fit_is_refused() -> None:
    small = make_experience(settings_of(num_updates=1))
    small.insert([rollout()])
    with pytest.raises(ConfigError, match="set replay_capacity to"):
        make_experience(settings_of(capacity=10_000, num_updates=1)).restore(*saved(small))


def test_metrics_tell_the_memory_of_rows_and_samples() -> None:
    experience = make_experience(settings_of(capacity=200, num_updates=1, priority_exponent=0.5))
    experience.insert([rollout()])
    before = experience.metrics()["replay_memory_mib"]
    # A row has an image of 16 KiB, and a batch has two for each of its 32 rows.
    assert 200 * 16 / 1024 < before < 200 * 16 / 1024 * 1.02
    next(iter(experience.due(0.0, (0,))))
    assert experience.metrics()["replay_memory_mib"] == pytest.approx(before + 64 * 16 / 1024, rel=0.02)


@pytest.mark.usefixtures("hundred_mebibytes")
@pytest.mark.parametrize("name", ["insert", "zero_sample"])
def test_the_states_at_the_beginnings_of_sequences_are_counted(name: str) -> None:
    rng = np.random.default_rng(0)
    made = rollout_of({slot: Stream(slot, rng) for slot in range(2)}, 0, 2, 10, 0)
    # A MiB for each of the 200 rollouts that the rows are from.
    made = made._replace(policy_state={"memory": np.zeros((2, 2**18), np.float32)})
    experience = make_experience(settings_of(capacity=2_000, num_updates=1, sequence_length=4))
    with pytest.raises(ConfigError, match=r"takes 0\.2 GiB, but 0\.1 GiB .*: set replay_capacity to \d+ or less"):
        getattr(experience, name)([made] if name == "insert" else made)


@pytest.mark.parametrize("num_pieces", [1, 8])
def test_a_buffer_is_restored_where_it_fits_beside_the_largest_piece_of_its_checkpoint(
    num_pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings_of(capacity=2_000, batch_size=2, num_updates=1)
    full, rng = make_experience(config), np.random.default_rng(0)
    streams = {0: Stream(0, rng)}
    pieces: Saved = {}, {}
    for number in range(40):
        made = rollout_of(streams, 0, 1, 50, number)
        full.insert([made._replace(observation=rng.random((1, 51, 32, 32), np.float32))])
        if number % (40 // num_pieces) == 40 // num_pieces - 1:
            pieces = full.state(), {**pieces[1], **full.segments(list(pieces[1]))[1]}
    assert len(pieces[1]) == num_pieces
    buffer_bytes = full.metrics()["replay_memory_mib"] * MIB
    before = {
        path: np.concatenate([one[path] for one in pieces[1].values()]) for path in pieces[1][next(iter(pieces[1]))]
    }
    del full

    def restore(budget: float) -> None:
        tracemalloc.start()
        try:
            held = copy.deepcopy(pieces)
            monkeypatch.setattr(memory, "available_memory_bytes", lambda: budget - tracemalloc.get_traced_memory()[0])
            restored = make_experience(config)
            restored.restore(*held)
        finally:
            tracemalloc.stop()
        for path in ("values/observation", "values/reward", "is_start"):
            np.testing.assert_array_equal(rows_of(saved(restored), path), before[path][-1_999:])
        assert not any("values/" in path for segment in held[1].values() for path in segment), "what is copied is free"

    enough = (1 + 1.1 / num_pieces) * buffer_bytes + 2 * MIB
    restore(enough)
    with pytest.raises(ConfigError, match="set replay_capacity to"):
        restore(enough - 0.2 * buffer_bytes - 2 * MIB)
