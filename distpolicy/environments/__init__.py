"""Environments of arrays, and of tensors around them."""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "ActionClipWrapper": "distpolicy.environments.wrappers",
    "ActionDiscretizeWrapper": "distpolicy.environments.wrappers",
    "ActionOffsetWrapper": "distpolicy.environments.wrappers",
    "ActionRepeat": "distpolicy.environments.wrappers",
    "BatchedPyEnvironment": "distpolicy.environments.batched_py_environment",
    "FlattenObservationsWrapper": "distpolicy.environments.wrappers",
    "GoalReplayEnvWrapper": "distpolicy.environments.wrappers",
    "GymnasiumWrapper": "distpolicy.environments.gymnasium_wrapper",
    "HistoryWrapper": "distpolicy.environments.wrappers",
    "ObservationFilterWrapper": "distpolicy.environments.wrappers",
    "OneHotActionWrapper": "distpolicy.environments.wrappers",
    "PerformanceProfiler": "distpolicy.environments.wrappers",
    "PyEnvironment": "distpolicy.environments.py_environment",
    "PyEnvironmentBaseWrapper": "distpolicy.environments.wrappers",
    "RandomPyEnvironment": "distpolicy.environments.random_py_environment",
    "RunStats": "distpolicy.environments.wrappers",
    "TFEnvironment": "distpolicy.environments.tf_environment",
    "TFPyEnvironment": "distpolicy.environments.tf_py_environment",
    "TimeLimit": "distpolicy.environments.wrappers",
    "validate_py_environment": "distpolicy.environments.utils",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
