"""PPO's normalisation of rewards, against NumPy: divided by the deviation of the discounted return, and clipped."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from rollout_training import train
from test_ppo_agent import make_agent, make_rollout

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType

CLIP, EPSILON = 10.0, 1e-8
NORMALISED = PPOConfig(
    num_epochs=2, num_minibatches=2, learning_rate=1e-2, discount=0.9, normalize_rewards=True, entropy_weight=0.01
)
PLAIN = dataclasses.replace(NORMALISED, normalize_rewards=False)


def returns_of(rollout: Rollout, discount: float) -> list[float]:
    """The discounted sum of rewards after every step that is not a boundary."""
    found = []
    for row in range(rollout.num_slots):
        total = float(rollout.discounted_return[row])
        for step in range(rollout.num_steps):
            if rollout.step_type[row, step] == StepType.LAST:
                total = 0.0
            else:
                total = discount * total + float(rollout.reward[row, step])
                found.append(total)
    return found


def some_rollouts(offset: float, scale: float, num: int) -> list[Rollout]:
    """Rollouts whose rewards have any mean and deviation; the very last reward is far beyond all others."""
    agent = make_agent(NORMALISED)
    found = []
    for seed in range(num):
        rollout = make_rollout(agent, seed)
        reward = (offset + scale * rollout.reward).astype(np.float32)
        if seed == num - 1:
            reward[-1, -1] = -1e5 * scale
        found.append(rollout._replace(reward=reward, discounted_return=scale * rollout.discounted_return))
    return found


@pytest.mark.parametrize(("offset", "scale"), [(3.0, 1.0), (-200.0, 50.0), (0.0, 1e-2)])
def test_learning_from_normalised_rewards_is_learning_from_what_numpy_makes_of_them(
    offset: float, scale: float
) -> None:
    """Over several updates, since the statistics are of all returns so far."""
    normalising, plain = make_agent(NORMALISED), make_agent(PLAIN)
    returns: list[float] = []
    num_clipped = []
    for rollout in some_rollouts(offset, scale, num=6):
        returns += returns_of(rollout, NORMALISED.discount)
        # Not centred: the sign of a reward stays.
        reward = rollout.reward / np.sqrt(np.var(returns) + EPSILON)
        num_clipped.append(int((np.abs(reward) > CLIP).sum()))
        expected = train(plain, rollout._replace(reward=np.clip(reward, -CLIP, CLIP).astype(np.float32)))
        found = train(normalising, rollout)
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert num_clipped == [0, 0, 0, 0, 0, 1]
