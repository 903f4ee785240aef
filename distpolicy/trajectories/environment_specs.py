"""EnvironmentSpecs: what an environment takes and gives."""

from __future__ import annotations

from typing import Any, NamedTuple

from distpolicy.trajectories.time_step import TimeStep


class EnvironmentSpecs(NamedTuple):
    """What an environment takes and gives.

    Attributes:
        time_step: A TimeStep of array specs.
        action: Nest of bounded array specs.
    """

    time_step: TimeStep
    action: Any
