"""Texts as they are shown: paths relative to the folder in which the command was started, no control characters."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from rich.console import Console

from distpolicy.errors import DistPolicyError


class OutputError(DistPolicyError):
    """The standard output cannot be written, for example because its disk is full.

    Args:
        error: What writing raised.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write the output: {error.strerror or error}")


# All but the end of a line and the tabulator.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def shown_from(folder: str, text: str) -> str:
    """Returns a text with the paths in a folder relative to it.

    Control characters are spelt out. Texts come from run directories of others and from errors of environments, and a
    terminal would obey them.

    Args:
        folder: The absolute folder.
        text: The text, with absolute paths.
    """
    text = _CONTROL_CHARACTERS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return text if folder == os.sep else text.replace(folder + os.sep, "")


class PathsConsole(Console):
    """A console that shows paths relative to the folder in which it was made.

    Its output is plain: extras such as distpolicy[gpu] must not be read as markup, nor env ids such as module:Snake as
    emoji, and lines of a log must not be wrapped.
    """

    def __init__(self) -> None:
        # An environment may set sys.stdout to something else.
        super().__init__(file=sys.stdout, markup=False, emoji=False, highlight=False, soft_wrap=True)
        self._folder = os.getcwd()

    def print(self, *objects: Any, **options: Any) -> None:
        shown = [shown_from(self._folder, item) if isinstance(item, str) else item for item in objects]
        try:
            super().print(*shown, **options)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error) from error

    def on_broken_pipe(self) -> None:
        # Rich would raise SystemExit, which a run takes for a signal.
        self.quiet = True
        raise BrokenPipeError
