from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.environments.random_tf_environment import RandomTFEnvironment
from distpolicy.specs.tensor_spec import BoundedTensorSpec
from distpolicy.trajectories import time_step as ts

SPEC = ts.time_step_spec(BoundedTensorSpec((2,), tf.float32, -1, 1), BoundedTensorSpec((), tf.float32, 2, 3))
ACTION = BoundedTensorSpec((), tf.int32, 0, 3)


@pytest.mark.slow
def test_steps_are_drawn_from_their_specs_and_end_together() -> None:
    tf.random.set_seed(2)
    env = RandomTFEnvironment(SPEC, ACTION, batch_size=3, episode_end_probability=0.4)
    step = env.reset()
    assert bool(tf.reduce_all(step.is_first()))
    np.testing.assert_array_equal(step.reward, np.zeros(3))
    kinds = []
    for _ in range(30):
        was_last = bool(step.is_last()[0])
        step = env.step(tf.constant([0, 1, 2]))
        kind = np.unique(step.step_type)
        assert len(kind) == 1
        kinds.append(int(kind[0]))
        assert (kinds[-1] == 0) == was_last
        assert np.abs(step.observation).max() <= 1
        if kinds[-1]:
            assert 2 <= float(step.reward[0]) <= 3
            np.testing.assert_array_equal(step.discount, np.full(3, float(kinds[-1] == 1)))
        for one, other in zip(tf.nest.flatten(env.current_time_step()), tf.nest.flatten(step), strict=True):
            np.testing.assert_array_equal(one, other)
    assert set(kinds) == {0, 1, 2}
    compiled = tf.function(env.step)
    assert compiled(tf.constant([0, 1, 2])).observation.shape == (3, 2)
    with pytest.raises((TypeError, ValueError), match="action"):
        env.step(tf.constant([0.0, 1.0, 2.0]))
