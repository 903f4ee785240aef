"""ReportProcess: writes a run's report beside the run, in a process that takes only what CPUs have to spare."""

from __future__ import annotations

import subprocess
import time
import warnings
from pathlib import Path

from distpolicy.errors import DistPolicyError, DistPolicyWarning
from launch.output.own_process import module_command, module_environment
from launch.output.run_directory import RunDirectory

# Seconds between two reports of a run that goes on. One takes half a second of a CPU that would be idle, and another
# sixth of a second for each megabyte of metrics.
INTERVAL_S = 20.0
_INTERVAL_PER_MB_S = 3.0

# Seconds that the end of a run waits for its picture.
_PICTURE_TIMEOUT_S = 120.0


class ReportProcess:
    """Writes the report of a run directory.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._process: subprocess.Popen[str] | None = None
        self._next_s = 0.0
        self._is_last = False

    def begin(self) -> None:
        """Begins to write the page. Does nothing if the last one is still being written, or is seconds old."""
        now = time.monotonic()
        if now < self._next_s or (self._process is not None and self._process.poll() is None):
            return
        self._stop()
        self._next_s = now + INTERVAL_S + _INTERVAL_PER_MB_S * self._metrics_bytes() / 1e6
        self._process = self._start("--idle")

    def finish(self, has_picture: bool = True) -> None:
        """Writes the page and waits for it; the picture follows, for which :meth:`close` waits.

        Args:
            has_picture: Whether a picture is wanted.

        Raises:
            DistPolicyError: If the page cannot be written.
        """
        self._stop()
        self._process, self._is_last = self._start(*(["--picture"] if has_picture else [])), True
        assert self._process.stdout is not None
        # A line says that the page is there; if there is none, the process has ended.
        if not self._process.stdout.readline():
            raise DistPolicyError(f"the report was not written: {self._failure()}")

    def close(self) -> None:
        """Waits for the last report, if :meth:`finish` has begun one; ends any other. May be called twice.

        A picture that cannot be made is a warning.
        """
        if self._is_last and (failure := self._failure()):
            warnings.warn(
                f"the report has no picture: {failure}; make it by: distpolicy report {self._run}",
                DistPolicyWarning,
                stacklevel=2,
            )
        self._stop()

    def _failure(self) -> str:
        """Waits until the process has ended; returns why it has failed, or an empty text."""
        process = self._process
        if process is None:
            return ""
        try:
            _, errors = process.communicate(timeout=_PICTURE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"it took longer than {_PICTURE_TIMEOUT_S:.0f} s"
        finally:
            self._stop()
        lines = errors.strip().splitlines()
        return (
            (lines[-1] if lines else f"its process ended with code {process.returncode}") if process.returncode else ""
        )

    def _metrics_bytes(self) -> int:
        try:
            return RunDirectory(self._run).metrics_file.stat().st_size
        except OSError:
            return 0

    def _stop(self) -> None:
        """Ends what is still being written; an earlier report stays whole."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _start(self, *options: str) -> subprocess.Popen[str]:
        command = module_command("launch.reports.write", str(self._run.absolute()), *options)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=module_environment(),
        )
