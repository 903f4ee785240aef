"""Drivers: loops that step an environment by a policy."""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "Driver": "distpolicy.drivers.driver",
    "DynamicEpisodeDriver": "distpolicy.drivers.dynamic_episode_driver",
    "DynamicStepDriver": "distpolicy.drivers.dynamic_step_driver",
    "PyDriver": "distpolicy.drivers.py_driver",
    "TFDriver": "distpolicy.drivers.tf_driver",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
