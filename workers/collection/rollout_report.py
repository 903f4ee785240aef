"""RolloutReport: what the driver learns about a rollout."""

from __future__ import annotations

import dataclasses

from distpolicy.weights import Acknowledgement
from workers.environments.base import Fault


@dataclasses.dataclass(frozen=True)
class RolloutReport:
    """A rollout without its data.

    Attributes:
        collector: Number of the collector.
        generation: Its generation; together they name one actor.
        number: How many rollouts it had collected before, so that none is lost or counted twice unseen.
        weights: Acknowledgement of the weights that the rollout was collected with; None if there were none.
        num_env_steps: Steps of environments; those that only reset are not counted.
        episode_returns: Of the episodes that ended, in order of step and slot.
        episode_lengths: Likewise.
        episode_ends: Row and step of the rollout in which each ended.
        env_s: Seconds in the environments; of two groups, the mean.
        policy_s: Likewise in the policy.
        total_s: Seconds in all.
        wait_s: Seconds between the last rollout and this one.
        first_step_time: Clock time (``time.time``) of the collector's very first step.
        faults: Environments that failed and were replaced, with their slots' numbers over the whole run.
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
