"""Stacks of image frames in replay: each frame is kept once, and every observation comes back bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_streams import FIRST, Stream, assert_same, flat, put_back, rollout_of, rows_of, saved, settings_of

from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.trajectory import Trajectory
from workers.experience.experience import Experience
from workers.experience.factory import make_experience

SIZE = 5


class Kind(NamedTuple):
    """How frames are stacked."""

    num_frames: int
    axis: int
    frame_shape: tuple[int, ...] = (SIZE, SIZE)
    # Whether the frames' dimension is there, as that of channels, or a new one.
    is_joined: bool = False
    dtype: Any = np.uint8


KINDS = [
    *(Kind(num_frames, axis) for num_frames in (2, 3, 4, 5, 6, 8, 16) for axis in (0, -1)),
    *(Kind(num_frames, -1, (12, 11)) for num_frames in (3, 4, 6, 8)),
    # Frames as wide as a word, or short ones.
    *(Kind(4, 0, shape) for shape in ((8, 8), (2, 9), (9, 2), (9, 4), (3, 3))),
    # Grey frames that keep their last dimension, colours, and an image in two parts.
    *(Kind(4, axis, shape) for axis in (0, -1) for shape in ((9, 7, 1), (9, 7, 3), (18, 7, 3), (2, 5, 6, 3))),
    *(Kind(4, -1, (*size, colours), is_joined=True) for size in ((5, 5), (20, 19)) for colours in (1, 2, 3, 4)),
    *(Kind(3, 0, (colours, 9, 7), is_joined=True) for colours in (1, 2, 3, 4)),
    *(
        Kind(4, axis, (9, 7), False, dtype)
        for axis in (0, -1)
        for dtype in (np.float32, np.float64, np.int16, np.bool_)
    ),
    Kind(4, -1, (9, 7, 3), True, np.float32),
]


class Stacks:
    """Stacks the frames of each slot's episodes, and remembers every observation by its key."""

    def __init__(self, kind: Kind, pads_with_zeros: bool = True) -> None:
        self._kind = kind
        self._pads_with_zeros, self.glitch_share = pads_with_zeros, 0.0
        self._frames: dict[int, list[np.ndarray]] = {}
        self._rng = np.random.default_rng(0)
        self.seen: dict[int, np.ndarray] = {}

    def observe(self, slot: int, key: int, step_type: int) -> np.ndarray:
        """The observation of a time step; steps of a slot come in order."""
        if key not in self.seen:
            kind = self._kind
            numbers = key * np.arange(1, np.prod(kind.frame_shape) + 1)
            frame = (numbers % 251 if kind.dtype != np.bool_ else (numbers >> 3) % 2).astype(kind.dtype)
            if frame.dtype.kind == "f":
                # Some are -0.0, which is equal to what an episode begins with.
                frame = -frame
            frame = frame.reshape(kind.frame_shape)
            if step_type == FIRST:
                padding = np.zeros_like(frame) if self._pads_with_zeros else frame
                self._frames[slot] = [padding] * kind.num_frames
            frames = self._frames[slot] = [*self._frames[slot][1:], frame]
            if self._rng.random() < self.glitch_share:
                frames[0] = frames[0] + np.ones_like(frame)
            self.seen[key] = (np.concatenate if kind.is_joined else np.stack)(frames, axis=kind.axis)
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
    """Checks the images of all samples, to the bit; returns the keys of the steps."""
    keys: set[int] = set()
    for sample in experience.due(0.0, (seed,)):
        batch = flat(sample.experience)
        is_sequence = isinstance(batch, Trajectory)
        steps = [batch] if is_sequence else [batch.time_step, batch.next_time_step]
        for observation in (step.observation for step in steps):
            found = observation["vector"][..., 0].astype(int).ravel().tolist()
            wanted = np.array([stacks.seen[key] for key in found])
            assert observation["image"].dtype == wanted.dtype
            assert observation["image"].tobytes() == wanted.tobytes()
        keys |= set(steps[0].observation["vector"][..., 0].astype(int).ravel().tolist())
    return keys


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(KINDS),
    num_steps=st.integers(1, 12),
    spare=st.integers(0, 20),
    n_step=st.integers(1, 3),
    sequence_length=st.sampled_from([None, None, 3, 6]),
    num_inserts=st.integers(1, 8),
    pads_with_zeros=st.booleans(),
    glitch_share=st.sampled_from([0.0, 0.3, 0.9]),
    end_share=st.sampled_from([0.02, 0.4]),
    resumed_after=st.integers(0, 8),
)
def test_every_observation_comes_back(
    seed: int,
    kind: Kind,
    num_steps: int,
    spare: int,
    n_step: int,
    sequence_length: int | None,
    num_inserts: int,
    pads_with_zeros: bool,
    glitch_share: float,
    end_share: float,
    resumed_after: int,
) -> None:
    rng = np.random.default_rng(seed)
    streams = {slot: Stream(slot, rng, 0.05, end_share) for slot in range(2)}
    stacks = Stacks(kind, pads_with_zeros)
    capacity = 2 * (num_steps + n_step + (sequence_length or 0) + spare)
    changes = {"n_step": n_step, "sequence_length": sequence_length}
    config = settings_of(capacity=capacity, samples_per_insert=32.0, **changes)  # type: ignore[arg-type]
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
            put_back(experience, before)
            assert_same(saved(experience), before)
        check_images(experience, stacks, update)
        # The frames are taken for stacks by then.
        stacks.glitch_share = glitch_share


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_frame_is_kept_once(kind: Kind) -> None:
    length = 400
    stacks = Stacks(kind)
    experience = filled(length, stacks.added_to)
    bytes_without = filled(length, lambda rollout: rollout).metrics()["replay_memory_mib"] * 2**20
    num_bytes = experience.metrics()["replay_memory_mib"] * 2**20 - bytes_without
    frame_bytes = int(np.prod(kind.frame_shape)) * np.dtype(kind.dtype).itemsize
    # A row also keeps the number of its newest frame, and samples take memory.
    sample_bytes = 2 * 128 * frame_bytes * kind.num_frames
    assert num_bytes - 8 * length - sample_bytes < 1.1 * length * frame_bytes
    assert experience.metrics()["replay_size"] >= (0.95 if kind.num_frames <= 8 else 0.8) * length
    check_images(experience, stacks, 1)


def test_no_row_is_lost_while_episodes_are_long() -> None:
    stacks = Stacks(Kind(4, -1))
    experience = filled(400, stacks.added_to)
    assert len(check_images(experience, stacks, 0)) == experience.metrics()["replay_size"]
    assert len(rows_of(saved(experience), "is_start")) == 399


@pytest.mark.parametrize("shape", [(SIZE, SIZE, 4), (9, 9, 3), (4, 9, 9, 3), (9, 9, 12), (0, 3, 3), (2, 2)])
def test_images_that_are_not_stacked_are_kept_as_they_are(shape: tuple[int, ...]) -> None:
    def with_colours(rollout: Rollout) -> Rollout:
        image = np.random.default_rng(0).integers(0, 256, (*rollout.step_type.shape, *shape), np.uint8)
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
