"""The settings by which rollouts become training data; ``workers.experience`` implements them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OnPolicy:
    """On-policy learning: every rollout is used once, by the update that asked for it.

    Attributes:
        max_policy_lag: Versions by which the weights that acted may be older than those that learn.
    """

    max_policy_lag: int = 0


ExperienceConfig = OnPolicy
