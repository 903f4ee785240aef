"""The errors that distpolicy raises on purpose.

Each derives from :class:`DistPolicyError`, so that a caller can tell them from faults, and where
TF-Agents documents a ``ValueError`` or ``TypeError`` for the case, from that too.
"""

from __future__ import annotations


class DistPolicyError(Exception):
    """Base of every error that distpolicy raises on purpose."""


class ConfigError(DistPolicyError, ValueError):
    """A setting, an argument or an input that cannot work; the message says what to change."""


class SpecMismatchError(DistPolicyError, ValueError):
    """A value's structure, shape or dtype is not what a spec or a layout says."""


class StaleWeightsError(DistPolicyError, ValueError):
    """Weights that are older than those already applied were offered."""


class CheckpointError(DistPolicyError):
    """A checkpoint is missing, damaged or from another architecture."""


class EnvironmentCrashedError(DistPolicyError, RuntimeError):
    """An environment raised, or returned something that cannot be used."""


class WorkerLostError(DistPolicyError, RuntimeError):
    """A collector or learner died or stopped answering."""
