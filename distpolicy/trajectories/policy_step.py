"""PolicyStep: what a policy returns, as in TF-Agents."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple


class CommonFields:
    """Names of fields that several policies put into their info."""

    LOG_PROBABILITY = "log_probability"


class PolicyInfo(NamedTuple):
    """The info of a policy that emits log-probabilities.

    Attributes:
        log_probability: Nest like the action, with float32 ``[B]`` for each leaf.
    """

    log_probability: Any = ()


class PolicyStep(NamedTuple):
    """What a policy returns for one time step.

    Attributes:
        action: Nest of ``[B, ...]`` like ``action_spec``.
        state: The state for the next call, a nest of ``[B, ...]`` like ``policy_state_spec``.
        info: Nest of ``[B, ...]`` like ``info_spec``.
    """

    action: Any = ()
    state: Any = ()
    info: Any = ()

    def replace(self, **changes: Any) -> PolicyStep:
        """Returns a copy with these fields changed."""
        return self._replace(**changes)


def get_log_probability(info: Any, default_log_probability: Any = None) -> Any:
    """Returns the log-probability in a dict or namedtuple info, or the default if there is none."""
    info = _unwrapped(info)
    if isinstance(info, Mapping):
        return info.get(CommonFields.LOG_PROBABILITY, default_log_probability)
    return getattr(info, CommonFields.LOG_PROBABILITY, default_log_probability)


def set_log_probability(info: Any, log_probability: Any) -> Any:
    """Returns a copy of the info with ``log_probability`` set.

    An empty info becomes a :class:`PolicyInfo`. A dict keeps its type; TensorFlow's wrapper around a dict is removed.

    Args:
        info: ``()``, None, a dict, or a namedtuple with the field ``log_probability``.
        log_probability: Nest like the action, with float32 ``[B]`` for each leaf.

    Raises:
        ValueError: If a namedtuple does not have the field, or the info is anything else.
    """
    info = _unwrapped(info)
    if info is None or (isinstance(info, tuple) and not info):
        return PolicyInfo(log_probability=log_probability)
    if isinstance(info, Mapping):
        changed = copy.copy(info) if isinstance(info, dict) else dict(info)
        changed[CommonFields.LOG_PROBABILITY] = log_probability
        return changed
    if CommonFields.LOG_PROBABILITY in getattr(info, "_fields", ()):
        return info._replace(**{CommonFields.LOG_PROBABILITY: log_probability})
    raise ValueError(
        f"info of type {type(info).__name__} cannot hold a log-probability; use a dict or a namedtuple with the "
        f"field {CommonFields.LOG_PROBABILITY}"
    )


def _unwrapped(info: Any) -> Any:
    # A tf.Module wraps dicts and tuples that are set as attributes in proxies, and these are not Mappings.
    return getattr(info, "__wrapped__", info)
