"""Wrappers of PyEnvironments. Several can be put around each other."""

from distpolicy.environments.action_wrappers import (
    ActionClipWrapper,
    ActionDiscretizeWrapper,
    ActionOffsetWrapper,
    FlattenActionWrapper,
    OneHotActionWrapper,
)
from distpolicy.environments.episode_wrappers import (
    ActionRepeat,
    FixedLength,
    PerformanceProfiler,
    RunStats,
    TimeLimit,
)
from distpolicy.environments.observation_wrappers import (
    ExtraDisabledActionsWrapper,
    FlattenObservationsWrapper,
    GoalReplayEnvWrapper,
    HistoryWrapper,
    ObservationFilterWrapper,
)
from distpolicy.environments.wrapper_base import PyEnvironmentBaseWrapper

__all__ = [
    "ActionClipWrapper",
    "ActionDiscretizeWrapper",
    "ActionOffsetWrapper",
    "ActionRepeat",
    "ExtraDisabledActionsWrapper",
    "FixedLength",
    "FlattenActionWrapper",
    "FlattenObservationsWrapper",
    "GoalReplayEnvWrapper",
    "HistoryWrapper",
    "ObservationFilterWrapper",
    "OneHotActionWrapper",
    "PerformanceProfiler",
    "PyEnvironmentBaseWrapper",
    "RunStats",
    "TimeLimit",
]
