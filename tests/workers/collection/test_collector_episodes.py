"""Returns and lengths of episodes over rollouts, against a loop over steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.rollout import Rollout, zero_rollout
from distpolicy.trajectories.time_step import StepType
from workers.collection.episode_statistics import EpisodeStatistics


def random_rollouts(rng: np.random.Generator, num_slots: int, num_steps: int, count: int) -> list[tuple[Rollout, Any]]:
    """Rollouts of one stream, with where it is cut; rewards are of very different sizes."""
    kinds = np.zeros((num_slots, count * num_steps + 1), np.int32)
    for t in range(1, kinds.shape[1]):
        ended = kinds[:, t - 1] == StepType.LAST
        kinds[:, t] = np.where(
            ended, StepType.FIRST, np.where(rng.random(num_slots) < 0.3, StepType.LAST, StepType.MID)
        )
    parts = []
    for index in range(count):
        rollout = zero_rollout(ArraySpec((), np.float32), ArraySpec((), np.int64), (), num_slots, num_steps)
        begin = index * num_steps
        rollout.step_type[:] = kinds[:, begin : begin + num_steps + 1]
        rollout.reward[:] = rng.normal(size=(num_slots, num_steps)) * 10.0 ** rng.integers(-6, 20, size=(num_slots, 1))
        rollout.cuts[:] = (rollout.step_type[:, 1:] == StepType.LAST) & (rng.random(rollout.reward.shape) < 0.2)
        parts.append(rollout)
    return parts


class Loop:
    """The same sums, a step at a time."""

    def __init__(self, num_slots: int, discount: float) -> None:
        self.rewards: list[list[float]] = [[] for _ in range(num_slots)]
        self.discounted = np.zeros(num_slots)
        self._discount = discount

    def add(self, rollout: Rollout) -> list[tuple[list[float], tuple[int, int]]]:
        ended = []
        for t in range(rollout.num_steps):
            for row, rewards in enumerate(self.rewards):
                kind = rollout.step_type[row, t + 1]
                if kind == StepType.FIRST:
                    rewards.clear()
                    self.discounted[row] = 0.0
                    continue
                rewards.append(float(rollout.reward[row, t]))
                self.discounted[row] = self.discounted[row] * self._discount + rollout.reward[row, t]
                if kind == StepType.LAST and not rollout.cuts[row, t]:
                    ended.append((list(rewards), (row, t)))
        return ended


@settings(max_examples=60)
@given(
    num_slots=st.integers(1, 4),
    num_steps=st.integers(1, 9),
    count=st.integers(1, 5),
    discount=st.sampled_from([0.0, 0.9, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_sums_are_those_of_a_loop_over_steps(
    num_slots: int, num_steps: int, count: int, discount: float, seed: int
) -> None:
    sums, loop = EpisodeStatistics(num_slots, num_steps, discount), Loop(num_slots, discount)
    for rollout in random_rollouts(np.random.default_rng(seed), num_slots, num_steps, count):
        found, expected = sums.add(rollout), loop.add(rollout)
        assert found.places == [place for _, place in expected]
        assert found.lengths == [len(rewards) for rewards, _ in expected]
        for total, (rewards, _) in zip(found.returns, expected, strict=True):
            np.testing.assert_allclose(total, sum(rewards), rtol=1e-12, atol=1e-12 * np.abs(rewards).sum())
        scale = np.array([max(map(abs, rewards), default=0.0) for rewards in loop.rewards])
        difference = np.abs(sums.discounted_return - loop.discounted)
        assert (difference <= 1e-12 * scale * num_steps * count).all()


def test_a_huge_return_leaves_no_trace_in_the_next_episode() -> None:
    rollout = zero_rollout(ArraySpec((), np.float32), ArraySpec((), np.int64), (), num_slots=1, num_steps=5)
    first, middle, last = StepType.FIRST, StepType.MID, StepType.LAST
    rollout.step_type[0] = [first, last, first, middle, last, first]
    rollout.reward[0] = [1e30, 5.0, 0.25, 0.5, 7.0]  # what the env says at a reset belongs to no episode
    ended = EpisodeStatistics(1, 5, 0.9).add(rollout)
    np.testing.assert_allclose(ended.returns, [1e30, 0.75], rtol=1e-7)
    assert ended.lengths == [1, 2]
