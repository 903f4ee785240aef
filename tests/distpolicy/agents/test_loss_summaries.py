"""Summaries that an agent's ``train`` writes, eagerly and inside of a compiled function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.trajectories.time_step import time_step_spec


class Counting(TFAgent):
    """Its loss is the number of updates; it learns nothing."""

    def __init__(self, **arguments: Any) -> None:
        steps, actions = time_step_spec(TensorSpec((1,), tf.float32)), BoundedTensorSpec((), tf.int64, 0, 1)
        policy = RandomTFPolicy(steps, actions)
        super().__init__(steps, actions, policy, policy, **arguments)

    def _train(self, experience: Any, weights: tf.Tensor) -> LossInfo:
        count = tf.cast(self.train_step_counter.assign_add(1), tf.float32)
        return LossInfo(count, {"double": 2.0 * count, "priorities": tf.ones([3])})


def written(folder: Path) -> list[tuple[str, int, float]]:
    """The tags, steps and values of the scalars in a folder."""
    return [
        (value.tag, event.step, float(tf.make_ndarray(value.tensor)))
        for path in sorted(folder.iterdir())
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]


@pytest.mark.parametrize("compiled", [False, True])
def test_loss_and_scalars_are_written_at_the_step_before_the_update(compiled: bool, tmp_path: Path) -> None:
    agent, weights = Counting(), np.ones(3, np.float32)
    train = tf.function(agent.train) if compiled else agent.train
    writer = tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default():
        train((), weights)
        train((), weights)
    writer.close()
    assert written(tmp_path) == [
        ("Losses/loss", 0, 1.0),
        ("Losses/double", 0, 2.0),
        ("Losses/loss", 1, 2.0),
        ("Losses/double", 1, 4.0),
    ]


def test_summaries_can_be_left_out(tmp_path: Path) -> None:
    agent, writer = Counting(enable_summaries=False), tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default():
        agent.train((), np.ones(3, np.float32))
    writer.close()
    assert written(tmp_path) == []
