"""PolicyStep: what a policy answers, as in TF-Agents."""

from __future__ import annotations

from typing import Any, NamedTuple


class CommonFields:
    """Names of fields that several policies put into their info."""

    LOG_PROBABILITY = "log_probability"


class PolicyInfo(NamedTuple):
    """The info of a policy that emits log-probabilities.

    Attributes:
        log_probability: A nest like the action's, float32 ``[B]`` a leaf.
    """

    log_probability: Any = ()


class PolicyStep(NamedTuple):
    """A policy's answer to one time step.

    Attributes:
        action: A nest like ``action_spec``, ``[B, ...]``.
        state: The state to give to the next call, a nest like ``policy_state_spec``.
        info: A nest like ``info_spec``.
    """

    action: Any = ()
    state: Any = ()
    info: Any = ()

    def replace(self, **changes: Any) -> PolicyStep:
        """A copy with these fields changed."""
        return self._replace(**changes)


def get_log_probability(info: Any, default: Any = None) -> Any:
    """The log-probability in a dict or namedtuple info, or ``default`` if there is none."""
    if isinstance(info, dict):
        return info.get(CommonFields.LOG_PROBABILITY, default)
    if hasattr(info, "_fields"):
        return getattr(info, CommonFields.LOG_PROBABILITY, default)
    return default


def set_log_probability(info: Any, log_probability: Any) -> Any:
    """The info with ``log_probability`` set; the given one is left as it was.

    An empty info becomes a :class:`PolicyInfo`.

    Raises:
        ValueError: If a namedtuple has no such field, or the info is of another kind.
    """
    if info is None or (isinstance(info, tuple) and not info):
        return PolicyInfo(log_probability=log_probability)
    if isinstance(info, dict):
        return type(info)({**info, CommonFields.LOG_PROBABILITY: log_probability})
    if hasattr(info, "_fields"):
        return info._replace(**{CommonFields.LOG_PROBABILITY: log_probability})
    raise ValueError(
        f"info of type {type(info).__name__} cannot hold a log-probability; use a dict or a namedtuple with that field"
    )
