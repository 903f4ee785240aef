"""RunTerminal: what a run says on the terminal, with a progress line below."""

from __future__ import annotations

import contextlib

from rich.console import Console

from launch.output.progress_line import ProgressLine


class RunTerminal:
    """Prints lines above a progress line.

    Args:
        console: Where to print.

    Attributes:
        line: The progress line; shown between :meth:`begin` and :meth:`end`.
        was_interrupted: Whether :meth:`interrupt` was called.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = contextlib.ExitStack()
        self.line = ProgressLine(console)
        self.was_interrupted = False

    def begin(self) -> None:
        """Shows the progress line."""
        self._shown.enter_context(self.line)

    def end(self) -> None:
        """Takes the progress line away, if it is shown."""
        self._shown.close()

    def interrupt(self, text: str) -> None:
        """Takes the progress line away and prints a text. From here on, a terminal that has gone is not an error."""
        self.was_interrupted = True
        self.end()
        self.say(text)

    def say(self, text: str) -> None:
        """Prints a line."""
        # What an interrupted run saves must not be lost with a terminal or a reader of the output that is gone.
        with contextlib.suppress(*((OSError, SystemExit) if self.was_interrupted else ())):
            self._console.print(text)
