"""last_words: what a process says when its code hangs and it has to end at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def _print(message: str) -> None:
    print(f"distpolicy: error: {message}", file=sys.stderr, flush=True)


_say: Callable[[str], None] = _print


def hear_last_words(say: Callable[[str], None]) -> None:
    """Lets a function have this process's last words, instead of printing them.

    Args:
        say: Takes the words. It is called in another thread than the one that hangs.
    """
    global _say
    _say = say


def end_with(message: str) -> NoReturn:
    """Ends this process with exit code 1, whatever its other threads do.

    Args:
        message: Why, in one line.
    """
    _say(message)
    os._exit(1)
