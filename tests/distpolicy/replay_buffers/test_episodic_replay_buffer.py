from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.drivers import dynamic_episode_driver
from distpolicy.environments.suite_gym import load
from distpolicy.environments.tf_py_environment import TFPyEnvironment
from distpolicy.errors import CheckpointError
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.replay_buffers.episodic_replay_buffer import EpisodicReplayBuffer, StatefulEpisodicReplayBuffer
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.trajectories import trajectory
from distpolicy.utils import common

SPEC = {"x": TensorSpec((), tf.int64), "y": (TensorSpec((2,), tf.float32),)}


def items(numbers: list[int]) -> Any:
    x = np.array(numbers)
    return {"x": tf.constant(x), "y": (tf.constant(np.stack([x, -x], -1), tf.float32),)}


def buffer(**arguments: Any) -> EpisodicReplayBuffer:
    """One whose items that are divisible by 10 begin an episode, and that end with 9 complete it."""
    return EpisodicReplayBuffer(
        SPEC,
        begin_episode_fn=lambda item: item["x"] % 10 == 0,
        end_episode_fn=lambda item: item["x"] % 10 == 9,
        **arguments,
    )


def filled(**arguments: Any) -> EpisodicReplayBuffer:
    """Has the episodes 10, 11, 19 (id 0); 20, 21, 22, 23, 29 (id 1); 30, 31 (id 2, not complete)."""
    made = buffer(**arguments)
    for numbers in ([10, 11, 19], [20, 21, 22, 23, 29], [30, 31]):
        made.add_sequence(items(numbers), made.create_episode_ids())
    return made


def test_rows_go_to_their_episodes() -> None:
    made = buffer()
    ids = made.create_episode_ids(2)
    np.testing.assert_array_equal(ids, [-1, -1])
    for numbers in ([11, 21], [12, 29], [19, 30]):
        ids = made.add_batch(items(numbers), ids)
    np.testing.assert_array_equal(ids, [0, 2])
    assert int(made.num_frames()) == 6
    assert int(made.num_writes) == 3
    episodes = list(made.as_dataset(single_deterministic_pass=True))
    assert [episode["x"].numpy().tolist() for episode in episodes] == [[11, 12, 19], [21, 29], [30]]
    np.testing.assert_array_equal(episodes[1]["y"][0], [[21, -21], [29, -29]])
    gathered = made.gather_all()
    np.testing.assert_array_equal(gathered["x"], [[11, 12, 19, 21, 29, 30]])
    assert gathered["y"][0].shape == (1, 6, 2)
    made.clear()
    assert int(made.num_frames()) == 0
    assert list(made.as_dataset(single_deterministic_pass=True)) == []
    np.testing.assert_array_equal(made.gather_all()["x"], np.zeros((1, 0)))


def test_new_episodes_replace_the_oldest_and_what_belongs_to_these_is_dropped() -> None:
    made = buffer(capacity=2)
    ids = made.add_batch(items([11, 21]), made.create_episode_ids(2))
    third = made.add_sequence(items([30, 31]), made.create_episode_ids())
    assert int(third) == 2
    np.testing.assert_array_equal(made.add_batch(items([12, 22]), ids), [0, 1])
    episodes = [episode["x"].numpy().tolist() for episode in made.as_dataset(single_deterministic_pass=True)]
    assert episodes == [[21, 22], [30, 31]]
    with pytest.raises(ValueError, match=r"3 episodes .* capacity is 2"):
        made.create_episode_ids(3)


def test_adding_is_a_part_of_compiled_functions() -> None:
    made = buffer()
    add = tf.function(made.add_batch)
    ids = made.create_episode_ids(tf.constant(2))
    for numbers in ([11, 21], [12, 22]):
        ids = add(items(numbers), ids)
    assert ids.shape == (2,)
    assert int(tf.function(made.num_frames)()) == 4
    with pytest.raises(ValueError, match="items"):
        made.add_batch({"x": tf.constant([1])}, ids)


@pytest.mark.slow
@pytest.mark.parametrize("completed_only", [False, True])
def test_episodes_are_drawn_with_the_same_probability(completed_only: bool) -> None:
    tf.random.set_seed(1)
    made = filled(completed_only=completed_only)
    counts = Counter(int(episode_id) for _, episode_id in made.as_dataset().take(600))
    expected = 300 if completed_only else 200
    assert counts.keys() == ({0, 1} if completed_only else {0, 1, 2})
    assert all(abs(count - expected) < 60 for count in counts.values())
    episode, info = made.get_next()
    assert len(episode["x"]) == {0: 3, 1: 5, 2: 2}[int(info.ids)]


@pytest.mark.slow
def test_sequences_are_drawn_by_the_length_of_their_episodes() -> None:
    tf.random.set_seed(1)
    dataset = filled().as_dataset(sample_batch_size=4, num_steps=3)
    assert dataset.element_spec[0]["y"][0].shape == (4, 3, 2)
    starts: Counter[int] = Counter()
    for sample, ids in dataset.take(200):
        np.testing.assert_array_equal(sample["x"][:, 0] // 10 - 1, ids)
        starts.update(sample["x"][:, 0].numpy().tolist())
    # The incomplete episode is too short. The others are drawn as 3 to 5, and the second has three starts.
    assert starts.keys() == {10, 20, 21, 22}
    assert abs(starts[10] - 300) < 60
    assert all(abs(starts[start] - 500 / 3) < 50 for start in (20, 21, 22))


def test_a_pass_has_sequences_that_stay_in_their_episodes() -> None:
    def passes(made: EpisodicReplayBuffer, **arguments: Any) -> list[list[Any]]:
        dataset = made.as_dataset(single_deterministic_pass=True, **arguments)
        return [element["x"].numpy().tolist() for element in dataset]

    assert passes(filled(), num_steps=2) == [[10, 11], [19], [20, 21], [22, 23], [29], [30, 31]]
    assert passes(filled(dataset_drop_remainder=True), num_steps=2) == [[10, 11], [20, 21], [22, 23], [30, 31]]
    shifted = filled(dataset_window_shift=1, dataset_drop_remainder=True)
    assert passes(shifted, num_steps=3) == [[10, 11, 19], [20, 21, 22], [21, 22, 23], [22, 23, 29]]
    assert passes(filled(), num_steps=2, sample_batch_size=3) == [[[10, 11], [20, 21], [22, 23]], [[30, 31]]]


def test_what_cannot_be_sampled_is_told() -> None:
    with pytest.raises(ValueError, match="no episode of at least 1"):
        buffer().get_next()
    with pytest.raises(tf.errors.InvalidArgumentError, match="no complete episode of at least 6"):
        next(iter(filled(completed_only=True).as_dataset(num_steps=6)))
    for single_pass in (True, False):
        with pytest.raises(ValueError, match="give num_steps"):
            buffer().as_dataset(sample_batch_size=2, single_deterministic_pass=single_pass)
    with pytest.raises(TypeError, match="begin_episode_fn"):
        EpisodicReplayBuffer(SPEC, begin_episode_fn=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="capacity"):
        EpisodicReplayBuffer(SPEC, capacity=0)


def test_a_checkpoint_holds_the_episodes(tmp_path: Path) -> None:
    made = filled()
    path = tf.train.Checkpoint(buffer=made).save(str(tmp_path / "ckpt"))
    other = buffer(completed_only=True)
    tf.train.Checkpoint(buffer=other).restore(path)
    np.testing.assert_array_equal(other.gather_all()["x"], made.gather_all()["x"])
    assert {int(episode_id) for _, episode_id in other.as_dataset().take(40)} == {0, 1}
    assert int(other.add_sequence(items([40]), other.create_episode_ids())) == 3
    with pytest.raises(CheckpointError, match="3 episodes"):
        tf.train.Checkpoint(buffer=buffer(capacity=2)).restore(path)


def test_the_stateful_buffer_observes_a_compiled_driver() -> None:
    env = TFPyEnvironment(load("CartPole-v1"))
    policy = RandomTFPolicy(env.time_step_spec(), env.action_spec())
    inner = EpisodicReplayBuffer(policy.trajectory_spec, capacity=5, completed_only=True)
    stateful = StatefulEpisodicReplayBuffer(inner, num_episodes=1)
    driver = dynamic_episode_driver.DynamicEpisodeDriver(env, policy, observers=[stateful.add_batch], num_episodes=3)
    common.function(driver.run)()
    np.testing.assert_array_equal(stateful.episode_ids >= 2, [True])
    assert int(stateful.num_frames()) == int(inner.num_frames()) > 20
    episode, _ = next(iter(stateful.as_dataset()))
    assert isinstance(episode, trajectory.Trajectory)
    assert bool(episode.is_first()[0])
    assert int(tf.reduce_sum(tf.cast(episode.is_last(), tf.int32))) == 1
    assert stateful.gather_all().reward.shape[0] == 1
    stateful.clear()
    np.testing.assert_array_equal(stateful.episode_ids, [-1])
    with pytest.raises(TypeError, match="EpisodicReplayBuffer"):
        StatefulEpisodicReplayBuffer(stateful)  # type: ignore[arg-type]
    one = StatefulEpisodicReplayBuffer(buffer())
    assert int(one.add_sequence(items([10, 11]))) == 0
    assert int(one.add_sequence(items([12]))) == 0
    assert int(one.add_sequence(items([20]))) == 1
