from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.replay_buffers.tf_uniform_replay_buffer import BufferInfo, TFUniformReplayBuffer
from distpolicy.specs.tensor_spec import TensorSpec

SPEC = {"row": TensorSpec((), tf.int64), "step": (TensorSpec((2,), tf.float32),)}


def item(index: int, batch_size: int) -> Any:
    """The row's number, and twice the number of the add."""
    step = np.full((batch_size, 2), index, np.float32)
    return {"row": tf.range(batch_size, dtype=tf.int64), "step": (tf.constant(step),)}


def filled(num_adds: int, batch_size: int = 2, max_length: int = 5, **arguments: Any) -> TFUniformReplayBuffer:
    buffer = TFUniformReplayBuffer(SPEC, batch_size, max_length, **arguments)
    for index in range(num_adds):
        buffer.add_batch(item(index, batch_size))
    return buffer


def test_the_last_steps_of_each_row_are_kept() -> None:
    buffer = filled(7)
    assert int(buffer.num_frames()) == int(buffer.capacity) == 10
    everything = buffer.gather_all()
    np.testing.assert_array_equal(everything["row"], np.repeat([[0], [1]], 5, axis=1))
    np.testing.assert_array_equal(everything["step"][0][..., 1], [[2, 3, 4, 5, 6]] * 2)
    buffer.clear()
    assert int(buffer.num_frames()) == 0
    assert buffer.gather_all()["step"][0].shape == (2, 0, 2)
    buffer.add_batch(item(9, 2))
    assert int(buffer.num_frames()) == 2


@settings(max_examples=30)
@given(
    num_adds=st.integers(1, 13), batch_size=st.integers(1, 3), num_steps=st.integers(1, 4), max_length=st.integers(4, 6)
)
def test_samples_are_consecutive_steps_of_one_row(
    num_adds: int, batch_size: int, num_steps: int, max_length: int
) -> None:
    buffer = filled(num_adds, batch_size, max_length)
    length = min(num_adds, max_length)
    if length < num_steps:
        with pytest.raises(ValueError, match="empty or too short"):
            buffer.get_next(4, num_steps)
        return
    sample, info = buffer.get_next(16, num_steps)
    steps, rows = sample["step"][0].numpy()[..., 0], sample["row"].numpy()
    assert steps.shape == (16, num_steps)
    np.testing.assert_array_equal(steps, steps[:, :1] + np.arange(num_steps))
    np.testing.assert_array_equal(rows, np.repeat(rows[:, :1], num_steps, axis=1))
    assert steps.min() >= num_adds - length
    assert steps.max() < num_adds
    np.testing.assert_array_equal(info.ids, steps)
    np.testing.assert_allclose(info.probabilities, np.full(16, 1 / (batch_size * (length - num_steps + 1))))


def test_every_sequence_is_drawn_equally_often() -> None:
    tf.random.set_seed(3)
    sample, _ = filled(7).get_next(6000, 2)
    pairs = sample["row"].numpy()[:, 0] * 10 + sample["step"][0].numpy()[:, 0, 0]
    values, counts = np.unique(pairs, return_counts=True)
    np.testing.assert_array_equal(values, [2, 3, 4, 5, 12, 13, 14, 15])
    # Standard deviation of a count: 26.
    assert np.abs(counts - 750).max() < 130


def test_shapes_follow_the_arguments() -> None:
    buffer = filled(5)
    for size, num_steps, outer in ((None, None, []), (3, None, [3]), (None, 2, [2]), (3, 2, [3, 2])):
        sample, info = buffer.get_next(size, num_steps)
        assert sample["step"][0].shape == [*outer, 2]
        assert info.ids.shape == outer
        assert info.probabilities.shape == ([] if size is None else [3])
        dataset = buffer.as_dataset(size, num_steps)
        assert dataset.element_spec[0]["step"][0].shape == [*outer, 2]
        assert isinstance(next(iter(dataset))[1], BufferInfo)
    steps, info = buffer.get_next(3, 2, time_stacked=False)
    assert len(steps) == len(info.ids) == 2
    np.testing.assert_array_equal(steps[1]["step"][0], steps[0]["step"][0] + 1)


def test_the_seed_of_tensorflow_makes_datasets_repeatable() -> None:
    def draws() -> list[Any]:
        tf.random.set_seed(5)
        return [info.ids.numpy().tolist() for _, info in filled(5).as_dataset(8, 2).take(3)]

    assert draws() == draws()
    assert len({str(ids) for ids in draws()}) == 3


def test_a_dataset_sees_what_is_added_later() -> None:
    buffer = filled(1)
    iterator = iter(buffer.as_dataset(64))
    assert float(tf.reduce_max(next(iterator)[0]["step"][0])) == 0.0
    for index in range(1, 5):
        buffer.add_batch(item(index, 2))
    # TensorFlow prepares an element or two ahead.
    assert max(float(tf.reduce_max(next(iterator)[0]["step"][0])) for _ in range(4)) == 4.0


@pytest.mark.parametrize(
    ("size", "num_steps", "arguments", "expected"),
    [
        (None, None, {}, [0, 1, 2, 0, 1, 2]),
        (None, 2, {}, [[0, 1], [2], [0, 1], [2]]),
        (None, 2, {"dataset_drop_remainder": True}, [[0, 1], [0, 1]]),
        (None, 2, {"dataset_window_shift": 1}, [[0, 1], [1, 2], [2], [0, 1], [1, 2], [2]]),
        (2, None, {}, [[0, 0], [1, 1], [2, 2]]),
        (2, 2, {"dataset_window_shift": 1}, [[[0, 1], [0, 1]], [[1, 2], [1, 2]]]),
        (1, 2, {}, [[[0, 1]], [[0, 1]]]),
    ],
)
def test_a_pass_returns_everything_once(size: Any, num_steps: Any, arguments: Any, expected: Any) -> None:
    dataset = filled(3, **arguments).as_dataset(size, num_steps, single_deterministic_pass=True)
    for _ in range(2):
        assert [info.ids.numpy().tolist() for _, info in dataset] == expected
        assert [sample["step"][0].numpy()[..., 0].tolist() for sample, _ in dataset] == expected
    shape = dataset.element_spec[0]["step"][0].shape
    assert shape.rank == np.asarray(expected[0]).ndim + 1


def test_a_pass_over_a_ring_that_has_turned_begins_with_the_oldest() -> None:
    dataset = filled(7).as_dataset(single_deterministic_pass=True)
    assert [float(sample["step"][0][0]) for sample, _ in dataset] == [2, 3, 4, 5, 6] * 2


def test_it_works_inside_a_compiled_loop() -> None:
    buffer = filled(0)

    @tf.function
    def fill(num_adds: tf.Tensor) -> tuple[Any, tf.Tensor]:
        for index in tf.range(num_adds):
            step = tf.fill([2, 2], tf.cast(index, tf.float32))
            buffer.add_batch({"row": tf.range(2, dtype=tf.int64), "step": (step,)})
        return buffer.gather_all(), buffer.num_frames()

    everything, num_frames = fill(tf.constant(4))
    assert int(num_frames) == 8
    np.testing.assert_array_equal(everything["step"][0][..., 0], [[0, 1, 2, 3]] * 2)
    tf.function(buffer.clear)()
    assert int(buffer.num_frames()) == 0


def test_a_checkpoint_holds_the_items(tmp_path: Path) -> None:
    path = tf.train.Checkpoint(buffer=filled(7)).save(str(tmp_path / "c"))
    other = filled(2)
    tf.train.Checkpoint(buffer=other).restore(path)
    other.add_batch(item(7, 2))
    np.testing.assert_array_equal(other.gather_all()["step"][0][..., 1], [[3, 4, 5, 6, 7]] * 2)
    with pytest.raises(Exception, match="takes"):
        tf.train.Checkpoint(buffer=filled(0, batch_size=3)).restore(path)


def test_what_does_not_fit_is_refused() -> None:
    buffer = filled(0)
    with pytest.raises(ValueError, match="2 rows"):
        buffer.add_batch(item(0, 3))
    with pytest.raises(TypeError, match="row"):
        buffer.add_batch({**item(0, 2), "row": tf.zeros([2])})
    with pytest.raises(ValueError, match="keys"):
        buffer.add_batch({"row": tf.zeros([2], tf.int64)})
    with pytest.raises(ValueError, match="max_length"):
        TFUniformReplayBuffer(SPEC, 1, 0)
    with pytest.raises(ValueError, match="lists"):
        TFUniformReplayBuffer([TensorSpec((), tf.int64)], 1).as_dataset()
    with pytest.raises(NotImplementedError):
        buffer.as_dataset(sequence_preprocess_fn=lambda item: item)
    with pytest.raises(ValueError, match="leaves out all"):
        filled(3, dataset_drop_remainder=True).as_dataset(3, single_deterministic_pass=True)


def test_an_empty_buffer_has_no_samples_in_a_dataset_either() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="empty"):
        next(iter(filled(0).as_dataset(2)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="empty"):
        next(iter(filled(0).as_dataset(single_deterministic_pass=True)))


def test_items_of_one_array_are_fine() -> None:
    buffer = TFUniformReplayBuffer(TensorSpec((2,), tf.float32), 1, 5)
    buffer.add_batch(tf.ones([1, 2]))
    assert buffer.get_next(4, 1)[0].shape == (4, 1, 2)
    assert buffer.gather_all().shape == (1, 1, 2)
    assert [sample.shape for sample, _ in buffer.as_dataset(single_deterministic_pass=True)] == [(2,)]
