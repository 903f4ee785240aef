"""PolicyStep: what a policy answers, as in TF-Agents."""

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


def get_log_probability(info: Any, default_log_probability: Any = None) -> Any:
    """The log-probability in a dict or namedtuple info, or the default if there is none."""
    info = _unwrapped(info)
    if isinstance(info, Mapping):
        return info.get(CommonFields.LOG_PROBABILITY, default_log_probability)
    return getattr(info, CommonFields.LOG_PROBABILITY, default_log_probability)


def set_log_probability(info: Any, log_probability: Any) -> Any:
    """The info with ``log_probability`` set; the given one is left as it was.

    An empty info becomes a :class:`PolicyInfo`. A dict keeps its type; TensorFlow's wrapper around one counts as
    the dict.

    Args:
        info: ``()``, None, a dict, or a namedtuple with that field.
        log_probability: A nest like the action's.

    Raises:
        ValueError: If a namedtuple has no such field, or the info is of another kind.
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
    # A tf.Module wraps dicts and tuples that are set as attributes in proxies, which are no Mappings.
    return getattr(info, "__wrapped__", info)
