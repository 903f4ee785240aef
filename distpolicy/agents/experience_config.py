"""How rollouts become what an agent trains on, as plain data; ``workers.experience`` does it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OnPolicy:
    """Every rollout is learned from once, by the update that asked for it.

    Attributes:
        max_policy_lag: Versions by which the weights that acted may be older than those that learn.
    """

    max_policy_lag: int = 0


ExperienceConfig = OnPolicy
