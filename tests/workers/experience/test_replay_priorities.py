"""Prioritised replay: how often rows are drawn, and what their weights are (Schaul et al., 2016)."""

from __future__ import annotations

import numpy as np
import pytest
from replay_streams import Stream, rollout_of, saved, settings_of

from distpolicy.agents.experience_config import Replay
from workers.experience.experience import Experience, Sample
from workers.experience.factory import make_experience

ALPHA, BETA = 0.7, 0.4
PRIORITISED = settings_of(priority_exponent=ALPHA, importance_exponent=BETA, samples_per_insert=500.0)


def keys_of(sample: Sample) -> np.ndarray:
    return sample.experience.time_step.observation["vector"][..., 0].astype(np.int64)


def priority_of(keys: np.ndarray) -> np.ndarray:
    return (1.0 + keys % 7).astype(np.float32)


def insert(experience: Experience, streams: dict[int, Stream], version: int = 0) -> None:
    experience.insert([rollout_of(streams, 0, 2, 20, version)])


def made(config: Replay = PRIORITISED) -> tuple[Experience, dict[int, Stream]]:
    rng = np.random.default_rng(0)
    return make_experience(config), {slot: Stream(slot, rng, 0.0) for slot in range(2)}


def learn(experience: Experience, progress: float = 0.0, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draws all samples that are due, with feedback by the keys; returns keys and weights ``[K, B]``."""
    found = []
    for sample in experience.due(progress, (seed,)):
        keys = keys_of(sample)
        experience.feedback(sample, np.where(keys % 2 == 0, -1, 1) * priority_of(keys))
        found.append((keys, sample.weights.copy()))
    return found


def priorities_of(experience: Experience) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Key, whether a transition starts there, and priority of each row but the newest of each slot."""
    state, segments = saved(experience)
    places = [
        (slot, number)
        for slot, (oldest, tip) in enumerate(zip(state["ring/oldest"], state["ring/tip"], strict=True))
        for number in range(oldest, tip + 1)
    ]
    priorities = dict(zip(places, state["draws/priorities"].tolist(), strict=True))
    found = []
    for segment in segments.values():
        rows = iter(zip(segment["values/observation/vector"][:, 0], segment["is_start"], strict=True))
        for slot, (first, end) in enumerate(zip(segment["first"], segment["end"], strict=True)):
            found += [(*next(rows), priorities[slot, number]) for number in range(first, end)]
    keys, is_start, values = zip(*found, strict=True)
    return np.array(keys, np.int64), np.array(is_start), np.array(values)


def test_rows_are_drawn_in_proportion_to_their_priorities() -> None:
    experience, streams = made()
    insert(experience, streams)
    # All rows are drawn in the first half, and have their own priorities from then on.
    batches = learn(experience)
    keys = np.concatenate([keys.ravel() for keys, _ in batches[len(batches) // 2 :]])
    found, counts = np.unique(keys, return_counts=True)
    assert len(found) == experience.metrics()["replay_size"]
    expected = priority_of(found).astype(float) ** ALPHA
    expected *= counts.sum() / expected.sum()
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < len(found) + 6 * np.sqrt(2 * len(found))


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_weights_undo_the_bias_more_and_more(progress: float) -> None:
    experience, streams = made()
    insert(experience, streams)
    # In the second half all rows have their own priorities.
    batches = learn(experience, progress)
    beta = BETA + (1 - BETA) * progress
    for keys, weights in batches[len(batches) // 2 :]:
        unscaled = priority_of(keys).astype(float) ** (-ALPHA * beta)
        assert weights.dtype == np.float32
        np.testing.assert_allclose(weights, unscaled / unscaled.max(axis=1, keepdims=True), rtol=1e-4)


def test_new_rows_get_the_highest_priority_so_far() -> None:
    experience, streams = made()
    insert(experience, streams)
    learn(experience)
    before = set(range(1, 22)) | set(range(10_001, 10_022))
    insert(experience, streams)
    keys, is_start, priorities = priorities_of(experience)
    is_new = is_start & ~np.isin(keys, list(before))
    assert is_new.sum() > 10
    np.testing.assert_allclose(priorities[is_new], 7.0**ALPHA, rtol=1e-5)


def test_rows_without_a_transition_have_no_priority() -> None:
    experience, streams = made()
    for version in range(5):
        insert(experience, streams, version)
        learn(experience)
        _, is_start, priorities = priorities_of(experience)
        np.testing.assert_array_equal(priorities > 0, is_start)


def test_the_last_priority_counts_if_a_row_was_drawn_several_times() -> None:
    experience, streams = made()
    insert(experience, streams)
    sample = next(iter(experience.due(0.0, (0,))))
    keys = keys_of(sample).ravel()
    priorities = np.arange(1, keys.size + 1, dtype=np.float32)
    experience.feedback(sample, priorities.reshape(sample.weights.shape))
    last = dict(zip(keys.tolist(), priorities.tolist(), strict=True))
    assert len(last) < len(keys)
    for key, is_start, value in zip(*priorities_of(experience), strict=True):
        if key in last and is_start:
            assert value == pytest.approx(last[key] ** ALPHA, rel=1e-5)


def test_priorities_of_rows_that_were_written_over_are_ignored() -> None:
    experience, streams = made()
    insert(experience, streams)
    sample = next(iter(experience.due(0.0, (0,))))
    places = type(sample.places)(*(part.copy() for part in sample.places))
    for version in range(4):
        insert(experience, streams, version)
    before = experience.state()
    experience.feedback(sample._replace(places=places), np.full(sample.weights.shape, 1e6, np.float32))
    after = experience.state()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_each_batch_is_stratified() -> None:
    experience, streams = made()
    insert(experience, streams)
    size = int(experience.metrics()["replay_size"])
    # All priorities are equal: in a batch of 32 of 32 or more rows, none comes three times.
    for sample in experience.due(0.0, (0,)):
        for batch in keys_of(sample):
            assert np.unique(batch, return_counts=True)[1].max() <= 1 + int(np.ceil(32 / size))


def test_uniform_draws_take_no_feedback() -> None:
    experience, streams = made(settings_of())
    insert(experience, streams)
    assert next(iter(experience.due(0.0, (0,)))).places is None
