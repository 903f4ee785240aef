"""RandomSharePolicy: a share of the rows acts at random, as a variable says that weights carry."""

from __future__ import annotations

import numpy as np
import pytest

from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.random_share_policy import RandomSharePolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import StepType, TimeStep, time_step_spec

ACTION = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [3.0, 0.5])
FIXED = np.array([2.0, 0.25], np.float32)
NUM_ROWS = 2000


def make_policy(share: float) -> RandomSharePolicy:
    fixed = FixedPolicy(FIXED, time_step_spec(ArraySpec((1,), np.float32)), ACTION)
    return RandomSharePolicy(fixed, share)


def actions(policy: RandomSharePolicy) -> np.ndarray:
    zeros = np.zeros(NUM_ROWS, np.float32)
    step = TimeStep(np.full(NUM_ROWS, StepType.MID, np.int32), zeros, zeros, zeros[:, np.newaxis])
    return policy.action(step, seed=4).action.numpy()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_rows_is_random(share: float) -> None:
    is_random = (actions(make_policy(share)) != FIXED).any(axis=1)
    np.testing.assert_allclose(is_random.mean(), share, atol=0.04)


def test_random_actions_fill_the_bounds() -> None:
    drawn = actions(make_policy(1.0))
    for element, low, high in zip(drawn.T, ACTION.minimum, ACTION.maximum, strict=True):
        counts, _ = np.histogram(element, bins=5, range=(low, high))
        assert counts.sum() == NUM_ROWS
        np.testing.assert_allclose(counts, NUM_ROWS / 5, atol=80)


def test_the_share_comes_with_the_weights() -> None:
    source, policy = make_policy(1.0), make_policy(0.0)
    (item,) = policy.named_variables()
    assert not item.variable.trainable
    policy.update(source)
    np.testing.assert_array_equal(actions(policy), actions(source))


def test_the_distribution_is_the_wrapped_policys() -> None:
    zeros = np.zeros(1, np.float32)
    step = TimeStep(np.ones(1, np.int32), zeros, zeros, zeros[:, np.newaxis])
    np.testing.assert_array_equal(make_policy(1.0).distribution(step).action.mode(), [FIXED])
