"""The name that code written for Gym has for :mod:`distpolicy.environments.suite_gymnasium`."""

from distpolicy.environments.suite_gymnasium import load, wrap_env

__all__ = ["load", "wrap_env"]
