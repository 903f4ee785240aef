"""The errors that distpolicy raises on purpose.

Each derives from :class:`DistPolicyError`, so that a caller can tell it from a bug. Where TF-Agents documents a
``ValueError`` or ``TypeError`` for a case, the class also derives from that.
"""

from __future__ import annotations


class DistPolicyError(Exception):
    """Base of every error that distpolicy raises on purpose."""


class DistPolicyWarning(UserWarning):
    """Something that the user should know; the command goes on. The command line shows it in one line."""


class ConfigError(DistPolicyError, ValueError):
    """A setting, an argument or an input that cannot work; the message says what to change."""


class NotSupportedError(ConfigError, NotImplementedError):
    """A combination of arguments that is not implemented; the message says what to do instead."""


class SpecMismatchError(DistPolicyError, ValueError):
    """A value's structure, shape or dtype is not what a spec or a layout says."""


class StaleWeightsError(DistPolicyError, ValueError):
    """The offered weights are older than the weights already applied."""


class CheckpointError(DistPolicyError):
    """A checkpoint is missing, damaged or from another architecture."""


class EnvironmentCrashedError(DistPolicyError, RuntimeError):
    """An environment raised, or returned something that cannot be used.

    Args:
        message: What went wrong, in one line.
        collector: Index of the collector, or None outside a collector.
        slot: Index of the env slot, counted over the whole run, or None if it is unknown.
        step: Number of steps that the collector had taken, or None.
        seed: Seed of the env slot, or None.
        traceback: The original traceback as text.
    """

    def __init__(
        self,
        message: str,
        collector: int | None = None,
        slot: int | None = None,
        step: int | None = None,
        seed: int | None = None,
        traceback: str = "",
    ) -> None:
        self.message, self.collector, self.slot = message, collector, slot
        self.step, self.seed, self.traceback = step, seed, traceback
        places = {"collector": collector, "env slot": slot, "step": step, "seed": seed}
        where = ", ".join(f"{name} {value}" for name, value in places.items() if value is not None)
        super().__init__(f"{message} ({where})" if where else message)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        fields = (self.message, self.collector, self.slot, self.step, self.seed, self.traceback)
        return type(self), fields


class WorkerLostError(DistPolicyError, RuntimeError):
    """A collector or learner died or stopped answering."""


class InferenceLostError(WorkerLostError):
    """The inference server that computes a collector's actions died or stopped answering."""
