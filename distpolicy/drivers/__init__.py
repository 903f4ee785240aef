"""Drivers: loops that step an environment by a policy."""
