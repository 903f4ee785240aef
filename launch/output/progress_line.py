"""The progress line of a run."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from launch.output.formatting import show_return

# Seconds between two lines in a log file; a terminal is updated four times a second.
_LOG_INTERVAL_S = 2.0


class ProgressLine:
    """The progress of a run: on a terminal one line that changes, in a log a new line every few seconds.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._last_log = 0.0
        self._text = ""

    def __enter__(self) -> ProgressLine:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._text:
            self._console.print(self._text)

    def show(
        self,
        env_steps: int,
        total_steps: int,
        mean_return: float | None,
        target: float | None,
        steps_per_s: float,
        lag: str,
        eta_s: float,
    ) -> None:
        """Shows the newest numbers.

        Args:
            env_steps: Env steps so far.
            total_steps: Env steps of the whole run.
            mean_return: Mean return of the last episodes; None if none has ended.
            target: Mean return at which the run ends; None if there is none.
            steps_per_s: Env steps a second.
            lag: Text on the policy lag.
            eta_s: Seconds until the end.
        """
        goal = "" if target is None else f"/{target:g}"
        shown = "-" if mean_return is None else show_return(mean_return)
        text = (
            f"env steps {env_steps:,}/{total_steps:,} · return {shown}{goal} · {steps_per_s:,.0f} steps/s · "
            f"{lag} · ETA {duration(eta_s)}"
        )
        self.show_text(text)

    def show_text(self, text: str) -> None:
        """Shows a line instead of the last one."""
        if self._live is not None:
            self._live.update(Text(text))
            return
        self._text = text
        now = time.monotonic()
        if now - self._last_log >= _LOG_INTERVAL_S:
            self._last_log, self._text = now, ""
            self._console.print(text)


def duration(seconds: float) -> str:
    """Returns seconds as text, in hours, minutes and seconds."""
    if seconds != seconds or seconds == float("inf"):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
