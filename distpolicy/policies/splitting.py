"""split_observation: calls a user's function that splits observations, and says what it has to return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distpolicy.errors import ConfigError
from distpolicy.utils.error_text import one_line

_ASKED = "observation_and_action_constraint_splitter must return the network's input and a mask, and work on"


def split_observation(splitter: Callable[[Any], tuple[Any, Any]], observation: Any) -> tuple[Any, Any]:
    """Returns the network's input and the mask.

    Args:
        splitter: The user's function.
        observation: Nest of arrays or tensors ``[..., *shape]``.

    Raises:
        ConfigError: If the function fails, or does not return a pair.
    """
    try:
        network_input, mask = splitter(observation)
    except Exception as error:  # It may raise anything.
        raise splitter_error(error, "observations [..., *shape]") from error
    return network_input, mask


def splitter_error(error: Exception, given: str) -> ConfigError:
    """Returns the error of a function that failed.

    Args:
        error: What it raised.
        given: What it was called with, in words.
    """
    return ConfigError(f"{_ASKED} {given}; it raised {type(error).__name__}: {one_line(error)}")
