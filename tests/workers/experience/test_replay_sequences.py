"""Sequences from replay: each is one of the streams' with its stored state, and each of the streams' is reached."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_streams import (
    MID,
    Model,
    Step,
    Stream,
    action_of,
    assert_same,
    flat,
    observation_of,
    put_back,
    rollout_of,
    saved,
    settings_of,
)

from distpolicy.utils.nests.array_nest import map_structure
from workers.experience.experience import Sample
from workers.experience.factory import make_experience


def check_sequences(sample: Sample, want: dict[tuple[int, int], list[Step]], span: int) -> set[tuple[int, int]]:
    """Checks each sequence of a sample; returns the keys of their first steps."""
    batch, weights, arguments = flat((sample.experience, sample.weights, sample.arguments))
    keys = batch.observation["vector"][..., 0].astype(np.int64)
    found = list(zip(keys[:, 0].tolist(), batch.step_type[:, 0].tolist(), strict=True))
    assert set(found) <= set(want)
    steps = [want[key][:span] for key in found]

    def gathered(name: str) -> np.ndarray:
        return np.array([[getattr(step, name) for step in sequence] for sequence in steps])

    np.testing.assert_array_equal(keys, gathered("key"))
    np.testing.assert_array_equal(batch.step_type, gathered("step_type"))
    next_types = [[step.step_type for step in want[key][1:]] for key in found]
    # After the newest step of a slot nothing is known.
    padded = [types + [MID] * (span - len(types)) for types in next_types]
    np.testing.assert_array_equal(batch.next_step_type, np.array(padded))
    has_next = gathered("has_next")
    np.testing.assert_array_equal(batch.reward, np.where(has_next, gathered("reward"), 0))
    np.testing.assert_array_equal(batch.discount, np.where(has_next, gathered("discount"), 0))
    np.testing.assert_array_equal(batch.action, np.where(has_next, action_of(keys), 0))
    np.testing.assert_array_equal(batch.observation["byte"], observation_of(keys)["byte"])
    np.testing.assert_array_equal(weights, gathered("is_start").astype(np.float32))
    np.testing.assert_array_equal(arguments["policy_state"]["memory"], keys[:, 0])
    return set(found)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    num_steps=st.integers(1, 6),
    burn_in=st.integers(0, 4),
    length=st.integers(1, 6),
    n_step=st.integers(1, 2),
    spare=st.integers(0, 12),
    num_inserts=st.integers(1, 8),
    fault_share=st.sampled_from([0.0, 0.2]),
    priority_exponent=st.sampled_from([0.0, 0.5]),
    resumed_after=st.integers(0, 10),
)
def test_every_sequence_is_of_the_streams_and_each_is_reached(
    seed: int,
    num_steps: int,
    burn_in: int,
    length: int,
    n_step: int,
    spare: int,
    num_inserts: int,
    fault_share: float,
    priority_exponent: float,
    resumed_after: int,
) -> None:
    rng = np.random.default_rng(seed)
    span = burn_in + length + n_step
    num_rows = num_steps + span + spare
    config = settings_of(
        capacity=3 * num_rows,
        burn_in=burn_in,
        sequence_length=length,
        n_step=n_step,
        samples_per_insert=128.0,
        priority_exponent=priority_exponent,
    )
    experience, model = make_experience(config), Model(num_rows)
    streams = {slot: Stream(slot, rng, fault_share) for slot in range(3)}
    for update in range(num_inserts):
        rollouts = []
        for first, count in ((0, 2), (2, 1)):
            for _ in range(1 if update == 0 else rng.integers(0, 3)):
                if rng.random() < 0.1:
                    for slot in range(first, first + count):
                        streams[slot].restart()
                if update and rng.random() < 0.3:
                    rollout_of(streams, first, count, num_steps, update)
                rollouts.append(rollout_of(streams, first, count, num_steps, update))
        for rollout in rollouts:
            model.insert(rollout)
        experience.insert(rollouts)
        want = model.sequences(span)
        assert experience.metrics()["replay_size"] == len(want)
        if update == resumed_after:
            before = saved(experience)
            experience = make_experience(config)
            put_back(experience, before)
            assert_same(saved(experience), before)
            experience.insert([])
            continue
        reached: set[tuple[int, int]] = set()
        count = 0
        for sample in experience.due(0.0, (update,)):
            if priority_exponent:
                assert sample.weights.max() <= 1
                sample = sample._replace(weights=np.ceil(sample.weights))
            reached |= check_sequences(sample, want, span)
            count += 128
        if count > 40 * len(want):
            assert reached == set(want)


def test_a_call_costs_the_steps_that_it_learns_from() -> None:
    experience = make_experience(settings_of(capacity=600, sequence_length=10, samples_per_insert=64.0))
    streams = {0: Stream(0, np.random.default_rng(0), 0.0, 0.0)}
    num_calls = []
    for update in range(6):
        experience.insert([rollout_of(streams, 0, 1, 20, update)])
        num_calls.append(len(list(experience.due(0.0, (update,)))))
    # 20 transitions pay for 1,280 steps: a call of 4 batches of 32 sequences of 10 steps.
    assert num_calls == [1] * 6


def test_transitions_owe_nothing_before_the_first_sequence_is_there() -> None:
    experience = make_experience(settings_of(capacity=600, sequence_length=30, samples_per_insert=192.0))
    streams = {0: Stream(0, np.random.default_rng(0), 0.0, 0.0)}
    num_calls = []
    for update in range(4):
        experience.insert([rollout_of(streams, 0, 1, 20, update)])
        num_calls.append(len(list(experience.due(0.0, (update,)))))
    assert num_calls == [0, 1, 1, 1]


def test_a_sample_of_zeros_has_the_shape_of_all_others() -> None:
    experience = make_experience(settings_of(capacity=60, sequence_length=4, burn_in=2))
    rollout = rollout_of({0: Stream(0, np.random.default_rng(0))}, 0, 1, 8, 0)
    zeros = experience.zero_sample(rollout)
    experience.insert([rollout])
    sample = next(iter(experience.due(0.0, (0,))))

    def shapes(one: Sample) -> object:
        return map_structure(lambda leaf: (leaf.shape, leaf.dtype), (one.experience, one.weights, one.arguments))

    assert shapes(sample) == shapes(zeros)
    assert sample.weights.shape == (4, 32, 7)


@pytest.mark.parametrize("changes", [{}, {"priority_exponent": 0.5}])
@pytest.mark.parametrize("is_resumed", [False, True])
def test_rollouts_of_other_lengths_lose_no_sequence(changes: dict[str, float], is_resumed: bool) -> None:
    config = settings_of(capacity=80, sequence_length=4, samples_per_insert=128.0, **changes)
    experience, model = make_experience(config), Model(40)
    streams = {slot: Stream(slot, np.random.default_rng(slot)) for slot in range(2)}
    for update, num_steps in enumerate([12, 12, *[3] * 20, *[7] * 8, *[2] * 30]):
        # From the first rollouts on, two collectors may differ.
        rollouts = [rollout_of(streams, 0, 1, num_steps, update), rollout_of(streams, 1, 1, 1 + num_steps // 2, update)]
        for rollout in rollouts:
            model.insert(rollout)
        experience.insert(rollouts)
        want = model.sequences(5)
        assert experience.metrics()["replay_size"] == len(want)
        for sample in experience.due(0.0, (update,)):
            check_sequences(sample._replace(weights=np.ceil(sample.weights)), want, 5)
            if sample.places is not None:
                experience.feedback(sample, np.ones(sample.weights.shape[:2], np.float32))
        if is_resumed:
            before = saved(experience)
            experience = make_experience(config)
            put_back(experience, before)
            assert experience.metrics()["replay_size"] == len(want)
