"""The state of replay: a buffer that is restored goes on as the one that it was taken from."""

from __future__ import annotations

import io

import numpy as np
import pytest
from replay_streams import Model, Saved, Stream, assert_same, flat, put_back, rollout_of, rows_of, saved, settings_of

from distpolicy.errors import ConfigError
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.nests.array_nest import flatten
from workers.experience.experience import LEFT_OUT, Experience, Sample
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


def priorities_of(sample: Sample) -> np.ndarray:
    """Priorities ``[K, B]`` that differ between rows."""
    experience = sample.experience
    if isinstance(experience, Transition):
        return np.abs(experience.time_step.observation["vector"][..., 0]) % 11
    return np.abs(experience.observation["vector"][:, :, 0, 0]) % 11


def through_a_file(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return dict(loaded)


def read_back(one: Saved) -> Saved:
    return through_a_file(one[0]), {name: through_a_file(segment) for name, segment in one[1].items()}


@pytest.mark.parametrize("num_before", [1, 4, 12])
@pytest.mark.parametrize(
    "changes", [{"n_step": 2}, {"priority_exponent": 0.6}, {"sequence_length": 4, "priority_exponent": 0.6}]
)
def test_a_restored_buffer_goes_on_with_the_same_bytes(num_before: int, changes: dict[str, float]) -> None:
    config = settings_of(**{"samples_per_insert": 63.7, "capacity": 90, **changes})
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(3)}
    experience, restored = make_experience(config), make_experience(config)
    for number in range(num_before):
        update(experience, streams, number)
        if number % 3 == 0:
            experience.segments(())
    restored.restore(*read_back(saved(experience)))
    assert_same(saved(restored), saved(experience))
    ahead = [rollout_of(streams, 0, 3, STEPS, number) for number in range(9)]

    def go_on(one: Experience) -> list[bytes]:
        found = []
        for number, rollout in enumerate(ahead):
            one.insert([rollout])
            for sample in one.due(0.1, (number,)):
                found += [np.asarray(leaf).tobytes() for leaf in flatten((sample.experience, sample.weights))]
                if sample.places is not None:
                    one.feedback(sample, priorities_of(sample))
        return found

    want = go_on(experience)
    assert len(want) > 20
    assert go_on(restored) == want
    assert_same(saved(restored), saved(experience))


def test_the_samples_do_not_depend_on_who_brought_the_rollouts() -> None:
    def samples(num_collectors: int) -> list[bytes]:
        streams = {slot: Stream(slot, np.random.default_rng(slot)) for slot in range(4)}
        experience = make_experience(settings_of(capacity=120, priority_exponent=0.5))
        found = []
        for number in range(8):
            share = 4 // num_collectors
            experience.insert(
                [rollout_of(streams, index * share, share, STEPS, number) for index in reversed(range(num_collectors))]
            )
            for sample in experience.due(0.1, (number,)):
                found += [np.asarray(leaf).tobytes() for leaf in flatten((sample.experience, sample.weights))]
        return found

    assert samples(1) == samples(2) == samples(4)


def test_the_state_of_an_earlier_version_is_read_and_no_row_goes_on() -> None:
    config = settings_of(samples_per_insert=1.0)
    streams = {0: Stream(0, np.random.default_rng(0))}
    experience, restored, goes_on = make_experience(config), make_experience(config), make_experience(config)
    experience.insert([rollout_of(streams, 0, 1, STEPS, 0)])
    state, segments = read_back(saved(experience))
    put_back(goes_on, (state, segments))
    put_back(restored, ({name: value for name, value in state.items() if name != "ring/tip_step"}, segments))
    rollout = rollout_of(streams, 0, 1, STEPS, 1)
    for one in (restored, goes_on):
        one.insert([rollout])
    # Numbers of the last rows: where nothing goes on, the first row of the next rollout is one of its own.
    assert [one.state()["ring/tip"].tolist() for one in (restored, goes_on)] == [[2 * STEPS + 1], [2 * STEPS]]


def test_an_empty_state_empties_the_buffer() -> None:
    experience = make_experience(settings_of())
    rng = np.random.default_rng(0)
    update(experience, {slot: Stream(slot, rng) for slot in range(3)}, 0)
    experience.restore({})
    assert experience.metrics()["replay_size"] == 0
    assert update(experience, {slot: Stream(slot, rng) for slot in range(3)}, 0)


@pytest.mark.parametrize("changes", [{}, {"priority_exponent": 0.6}, {"sequence_length": 4}])
def test_the_state_of_an_unused_buffer_restores_it(changes: dict[str, float]) -> None:
    experience = make_experience(settings_of(**changes))
    before = read_back(saved(experience))
    rng = np.random.default_rng(0)
    update(experience, {slot: Stream(slot, rng) for slot in range(3)}, 0)
    put_back(experience, before)
    assert_same(saved(experience), before)


def test_a_segment_is_handed_out_once_and_holds_only_new_rows() -> None:
    experience = make_experience(settings_of(capacity=6_000))
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(3)}
    kept: list[str] = []
    for number in range(5):
        experience.insert([rollout_of(streams, 0, 3, STEPS, number)])
        names, segments = experience.segments(kept)
        assert names[:-1] == kept
        assert list(segments) == names[-1:]
        (segment,) = segments.values()
        rows = {len(value) for path, value in segment.items() if "values/" in path}
        assert rows == {3 * STEPS}
        kept = names
    assert experience.segments(kept) == (kept, {})
    # One that was not written after all is handed out again.
    names, segments = experience.segments(kept[:2] + kept[3:])
    assert names == kept
    assert list(segments) == [kept[2]]


def test_segments_of_rows_that_are_gone_are_not_named_any_more() -> None:
    experience = make_experience(settings_of(capacity=90))
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(3)}
    stored: dict[str, dict[str, np.ndarray]] = {}
    for number in range(60):
        experience.insert([rollout_of(streams, 0, 3, STEPS, number)])
        names, segments = experience.segments(list(stored))
        stored = {name: segments[name] if name in segments else stored[name] for name in names}
        assert len(names) <= 30 // STEPS + 2
    restored = make_experience(settings_of(capacity=90))
    put_back(restored, (experience.state(), stored))
    assert restored.metrics() == experience.metrics()
    assert_same(saved(restored), saved(experience))


def test_many_small_segments_become_one() -> None:
    experience = make_experience(settings_of(capacity=6_000))
    streams = {0: Stream(0, np.random.default_rng(0))}
    num_names = []
    for number in range(50):
        experience.insert([rollout_of(streams, 0, 1, 2, number)])
        names, segments = experience.segments(())
        num_names.append(len(names))
        assert sum(len(segment["step_type"]) for segment in segments.values()) == experience.state()["ring/tip"].sum()
    assert max(num_names) == 32
    assert min(num_names[32:]) == 1


def test_other_rows_get_another_name() -> None:
    names = []
    for seed in range(2):
        experience = make_experience(settings_of())
        experience.insert([rollout_of({0: Stream(0, np.random.default_rng(seed))}, 0, 1, STEPS, 0)])
        names += experience.segments(())[0]
    assert names[0] != names[1]


@pytest.mark.parametrize("changes", [{}, {"priority_exponent": 0.6}, {"sequence_length": 2}])
def test_a_larger_or_a_smaller_buffer_takes_the_newest_rows(changes: dict[str, float]) -> None:
    experience = make_experience(settings_of(capacity=60, **changes))
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng, 0.0) for slot in range(3)}
    for number in range(6):
        update(experience, streams, number)
    before = saved(experience)
    for capacity in (30, 300):
        other = make_experience(settings_of(capacity=capacity, **changes))
        put_back(other, before)
        rows = rows_of(saved(other), "values/action").reshape(3, -1)
        want = rows_of(before, "values/action").reshape(3, 19)
        np.testing.assert_array_equal(rows, want[:, -(min(20, capacity // 3) - 1) :])
        if not changes.get("sequence_length"):
            assert other.metrics()["replay_size"] == rows_of(saved(other), "is_start").sum()
        assert update(other, streams, 7)


@pytest.mark.parametrize("changes", [{}, {"priority_exponent": 0.6}, {"sequence_length": 2}])
def test_env_slots_that_come_later_share_the_capacity(changes: dict[str, float]) -> None:
    """Two collectors, the second of which joins after some updates, and its slots are before the first one's."""
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(3)}
    experience = make_experience(settings_of(capacity=90, **changes))
    early, late = Model(45), Model(30)
    for number in range(10):
        rollouts = [rollout_of(streams, 1, 2, STEPS, number)]
        if number >= 6:
            rollouts.append(rollout_of(streams, 0, 1, STEPS, number))
        for rollout in rollouts:
            early.insert(rollout)
            late.insert(rollout)
        experience.insert(rollouts)
        model = late if number >= 6 else early
        span = 3 if changes.get("sequence_length") else 0
        want = model.sequences(span) if span else model.transitions(1, 0.5)
        assert experience.metrics()["replay_size"] == len(want)
        found = set()
        for sample in experience.due(0.0, (number,)):
            batch = flat(sample.experience)
            observation = batch.observation if span else batch.time_step.observation
            step_type = batch.step_type if span else batch.time_step.step_type
            keys = observation["vector"].reshape(len(step_type), -1)[:, 0].astype(int)
            found |= set(zip(keys.tolist(), step_type.reshape(len(keys), -1)[:, 0].tolist(), strict=True))
        assert found <= set(want)


@pytest.mark.parametrize("changes", [{}, {"priority_exponent": 0.6}])
def test_rows_of_env_slots_that_come_no_more_stay(changes: dict[str, float]) -> None:
    """A run goes on with half of its environments: what the others did is still true."""
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng, fault_share=0.0) for slot in range(4)}
    config = settings_of(capacity=120, **changes)
    before, experience = make_experience(config), make_experience(config)
    model = Model(30)
    for number in range(6):
        rollouts = [rollout_of(streams, 0, 2, STEPS, number), rollout_of(streams, 2, 2, STEPS, number)]
        for rollout in rollouts:
            model.insert(rollout)
        before.insert(rollouts)
    experience.restore(*read_back(saved(before)))
    memory = []
    for number in range(6, 20):
        rollout = rollout_of(streams, 2, 2, STEPS, number)
        model.insert(rollout)
        experience.insert([rollout])
        assert experience.metrics()["replay_size"] == len(model.transitions(1, 0.5))
        memory.append(experience.metrics()["replay_memory_mib"])
    assert max(memory) <= 1.01 * memory[0]


@pytest.mark.parametrize("priority_exponent", [0.0, 0.6])
@pytest.mark.parametrize(("before", "after"), [(None, 2), (2, None)])
def test_a_buffer_of_transitions_does_not_become_one_of_sequences(
    priority_exponent: float, before: int | None, after: int | None
) -> None:
    def made(length: int | None) -> Experience:
        return make_experience(settings_of(sequence_length=length, priority_exponent=priority_exponent))  # type: ignore[arg-type]

    experience, other = made(before), made(after)
    other.restore(*read_back(saved(experience)))
    experience.insert([rollout_of({0: Stream(0, np.random.default_rng(0))}, 0, 1, STEPS, 0)])
    with pytest.raises(ConfigError, match=r"of the checkpoint is for (\w+), but this run learns from (?!\1)") as raised:
        other.restore(*read_back(saved(experience)))
    assert "\n" not in str(raised.value)


def test_sequences_that_are_whole_since_they_are_shorter_can_be_drawn() -> None:
    streams = {0: Stream(0, np.random.default_rng(0), 0.0, 0.0)}
    long, short = (
        make_experience(settings_of(sequence_length=length, priority_exponent=0.6, samples_per_insert=1e6))
        for length in (4 * STEPS, 2)
    )
    for number in range(2):
        long.insert([rollout_of(streams, 0, 1, STEPS, number)])
    assert long.metrics()["replay_size"] == 0
    short.restore(*read_back(saved(long)))
    assert short.metrics()["replay_size"] == 2
    short.insert([rollout_of(streams, 0, 1, STEPS, 2)])
    sample = next(short.due(0.0, (0,)))
    keys = sample.experience.observation["vector"][..., 0, 0]  # type: ignore[union-attr]
    assert sorted(set(keys.ravel().astype(int).tolist())) == [1, 1 + STEPS, 1 + 2 * STEPS]


@pytest.mark.parametrize("in_checkpoints", [True, False])
def test_rows_are_left_out_and_counted_if_checkpoints_do_not_hold_them(in_checkpoints: bool) -> None:
    rng = np.random.default_rng(0)
    streams = {slot: Stream(slot, rng) for slot in range(3)}
    experience = make_experience(settings_of(in_checkpoints=in_checkpoints))
    experience.insert([rollout_of(streams, 0, 2, STEPS, 0)])
    # A collector that joins does not lose the rows.
    experience.insert([rollout_of(streams, 0, 3, STEPS, 1)])
    held = experience.metrics()["replay_size"]
    assert held > 2 * STEPS
    assert experience.state().get(LEFT_OUT) == (None if in_checkpoints else held)
    assert ("ring/slots" in experience.state()) is in_checkpoints
    assert bool(experience.segments(())[0]) is in_checkpoints
