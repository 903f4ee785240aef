"""What programs with a ParallelPyEnvironment call before anything else.

In TF-Agents the processes of environments needed it. Here they do not run the program's main module, so nothing has to
be prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def handle_main(
    parent_main_fn: Callable[..., Any], *args: Any, extra_state_savers: Sequence[Any] | None = None, **kwargs: Any
) -> Any:
    """Calls the program's main function and returns what it returns.

    Args:
        parent_main_fn: The function.
        *args: Its positional arguments.
        extra_state_savers: Accepted for TF-Agents' callers: an environment's constructor carries its state.
        **kwargs: Its arguments by name.
    """
    return parent_main_fn(*args, **kwargs)


def enable_interactive_mode(extra_state_savers: Sequence[Any] | None = None) -> None:
    """Does nothing: environments' processes work in notebooks as they are.

    Args:
        extra_state_savers: Accepted for TF-Agents' callers.
    """
