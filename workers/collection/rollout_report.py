"""RolloutReport: a rollout's statistics, which the driver reads instead of its data."""

from __future__ import annotations

import dataclasses

from distpolicy.weights import Acknowledgement
from workers.environments.base import Fault


@dataclasses.dataclass(frozen=True)
class RolloutReport:
    """The statistics of a rollout.

    Attributes:
        collector: Number of the collector.
        generation: Its generation; collector and generation identify one actor.
        number: Number of rollouts that it had collected before; shows if one is lost or counted twice.
        weights: Acknowledgement of the weights that the rollout was collected with; None if there were none.
        num_env_steps: Number of environment steps, without those that only reset.
        episode_returns: Returns of the episodes that ended, in order of step and slot.
        episode_lengths: Lengths of these episodes.
        episode_ends: Row and step of the rollout in which each ended.
        env_s: Seconds in the environments; with two groups, the mean of the groups.
        policy_s: Seconds in the policy; with two groups, the mean.
        total_s: Seconds in total.
        wait_s: Seconds between the last rollout and this one, without those of evaluations.
        first_step_time: Clock time (``time.time``) of the collector's very first step.
        faults: Environments that failed and were replaced; their slots are counted over the whole run.
        episode_infos: The numbers in the last ``info`` of each episode that ended, by name; empty if there are none.
        sync_s: Seconds from the making of the weights, by the learner's clock, until they were applied here, by this
            machine's; None if they had been applied before, or their time is not known.
    """

    collector: int
    generation: int
    number: int
    weights: Acknowledgement | None
    num_env_steps: int
    episode_returns: list[float]
    episode_lengths: list[int]
    episode_ends: list[tuple[int, int]]
    env_s: float
    policy_s: float
    total_s: float
    wait_s: float
    first_step_time: float
    faults: list[Fault] = dataclasses.field(default_factory=list)
    episode_infos: list[dict[str, float]] = dataclasses.field(default_factory=list)
    sync_s: float | None = None
