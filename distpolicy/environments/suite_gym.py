"""The name of :mod:`distpolicy.environments.suite_gymnasium` in code written for Gym."""

from distpolicy.environments.suite_gymnasium import load, wrap_env

__all__ = ["load", "wrap_env"]
