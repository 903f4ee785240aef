"""Stacks of image frames in replay: each frame is kept once, and every observation comes back bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_streams import FIRST, Stream, assert_same, flat, rollout_of, rows_of, saved, settings_of

from distpolicy.trajectories.rollout import Rollout
from workers.experience.experience import Experience
from workers.experience.factory import make_experience

SIZE = 5


class Stacks:
    """Stacks the frames of each slot's episodes, and remembers every observation by its key."""

    def __init__(self, num_frames: int, axis: int, pads_with_zeros: bool = True) -> None:
        self._num_frames, self._axis = num_frames, axis
        self._pads_with_zeros, self.glitch_share = pads_with_zeros, 0.0
        self._frames: dict[int, list[np.ndarray]] = {}
        self._rng = np.random.default_rng(0)
        self.seen: dict[int, np.ndarray] = {}

    def observe(self, slot: int, key: int, step_type: int) -> np.ndarray:
        """The observation of a time step; steps of a slot come in order."""
        if key not in self.seen:
            frame = (key * np.arange(1, SIZE * SIZE + 1) % 251).astype(np.uint8).reshape(SIZE, SIZE)
            if step_type == FIRST:
                padding = np.zeros_like(frame) if self._pads_with_zeros else frame
                self._frames[slot] = [padding] * self._num_frames
            frames = self._frames[slot] = [*self._frames[slot][1:], frame]
            if self._rng.random() < self.glitch_share:
                frames[0] = frames[0] ^ 1
            self.seen[key] = np.stack(frames, axis=self._axis)
        return self.seen[key]

    def added_to(self, rollout: Rollout) -> Rollout:
        """The rollout with images beside its observations."""
        vector = rollout.observation["vector"]
        images = [
            [
                self.observe(int(rollout.first_slot) + row, int(vector[row, t, 0]), rollout.step_type[row, t])
                for t in range(vector.shape[1])
            ]
            for row in range(rollout.num_slots)
        ]
        return rollout._replace(observation={**rollout.observation, "image": np.array(images)})


def check_images(experience: Experience, stacks: Stacks, seed: int) -> set[int]:
    """Checks the images of all samples; returns the keys of the transitions."""
    keys: set[int] = set()
    for sample in experience.due(0.0, (seed,)):
        batch = flat(sample.experience)
        for observation in (batch.time_step.observation, batch.next_time_step.observation):
            found = observation["vector"][:, 0].astype(int).tolist()
            assert np.array_equal(observation["image"], np.array([stacks.seen[key] for key in found]))
        keys |= set(batch.time_step.observation["vector"][:, 0].astype(int).tolist())
    return keys


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    num_frames=st.sampled_from([2, 3, 4, 8]),
    axis=st.sampled_from([0, 2]),
    num_steps=st.integers(1, 12),
    spare=st.integers(0, 20),
    n_step=st.integers(1, 3),
    num_inserts=st.integers(1, 8),
    pads_with_zeros=st.booleans(),
    glitch_share=st.sampled_from([0.0, 0.3, 0.9]),
    end_share=st.sampled_from([0.02, 0.4]),
    resumed_after=st.integers(0, 8),
)
def test_every_observation_comes_back(
    seed: int,
    num_frames: int,
    axis: int,
    num_steps: int,
    spare: int,
    n_step: int,
    num_inserts: int,
    pads_with_zeros: bool,
    glitch_share: float,
    end_share: float,
    resumed_after: int,
) -> None:
    rng = np.random.default_rng(seed)
    streams = {slot: Stream(slot, rng, 0.05, end_share) for slot in range(2)}
    stacks = Stacks(num_frames, axis, pads_with_zeros)
    config = settings_of(capacity=2 * (num_steps + n_step + spare), n_step=n_step, samples_per_insert=32.0)
    experience = make_experience(config)
    for update in range(num_inserts):
        rollout = stacks.added_to(rollout_of(streams, 0, 2, num_steps, update))
        if update and rng.random() < 0.2:
            # A rollout was lost.
            rollout = stacks.added_to(rollout_of(streams, 0, 2, num_steps, update))
        experience.insert([rollout])
        if update == resumed_after:
            before = saved(experience)
            experience = make_experience(config)
            experience.insert([rollout])
            experience.restore(*before)
            assert_same(saved(experience), before)
        check_images(experience, stacks, update)
        # The frames are taken for stacks by then.
        stacks.glitch_share = glitch_share


@pytest.mark.parametrize(("num_frames", "axis"), [(4, 2), (4, 0), (3, 0), (2, 2), (8, 2)])
def test_each_frame_is_kept_once(num_frames: int, axis: int) -> None:
    length = 400
    experience = filled(length, Stacks(num_frames, axis).added_to)
    bytes_without = filled(length, lambda rollout: rollout).metrics()["replay_memory_mib"] * 2**20
    num_bytes = experience.metrics()["replay_memory_mib"] * 2**20 - bytes_without
    # A row also keeps the number of its newest frame, and samples take memory.
    sample_bytes = 2 * 128 * SIZE * SIZE * num_frames
    assert num_bytes - 8 * length - sample_bytes < 1.1 * length * SIZE * SIZE
    assert experience.metrics()["replay_size"] >= 0.95 * length


def test_no_row_is_lost_while_episodes_are_long() -> None:
    stacks = Stacks(4, 2)
    experience = filled(400, stacks.added_to)
    assert len(check_images(experience, stacks, 0)) == experience.metrics()["replay_size"]
    assert len(rows_of(saved(experience), "is_start")) == 399


def test_images_that_are_not_stacked_are_kept_as_they_are() -> None:
    def with_colours(rollout: Rollout) -> Rollout:
        shape = (*rollout.step_type.shape, SIZE, SIZE, 4)
        image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        return rollout._replace(observation={**rollout.observation, "image": image})

    experience = make_experience(settings_of(capacity=400))
    rng = np.random.default_rng(0)
    experience.insert([with_colours(rollout_of({0: Stream(0, rng, 0.0, 0.05)}, 0, 1, 50, 0))])
    assert "ring/values/observation/image" in experience.state()


def filled(length: int, change: Callable[[Rollout], Rollout]) -> Experience:
    """A full buffer of one slot with episodes of 200 steps on average."""
    experience = make_experience(settings_of(capacity=length, samples_per_insert=16.0))
    streams = {0: Stream(0, np.random.default_rng(3), 0.0, 0.005)}
    for update in range(3 * length // 50):
        experience.insert([change(rollout_of(streams, 0, 1, 50, update))])
        next(iter(experience.due(0.0, (0,))))
    return experience
