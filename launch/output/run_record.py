"""run.json: how a run was started, on what, and how it has ended."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from distpolicy.errors import ConfigError
from distpolicy.utils.atomic_files import write_file
from distpolicy.utils.files.bounded_files import read_text
from launch.output.run_directory import RunDirectory

RECORD_FORMAT = 1

_MAX_BYTES = 2**24

_PACKAGES = (
    "distpolicy",
    "ray",
    "tensorflow",
    "tensorflow-probability",
    "keras",
    "ai-edge-litert",
    "numpy",
    "gymnasium",
)

# Seconds without a new row after which a run of another machine counts as gone.
_SILENT_S = 900.0


def describe_start(generation: int, updates: int, train_s: float) -> dict[str, Any]:
    """Returns what is known when a run begins or goes on: the command, the process, versions and the machine.

    Args:
        generation: The run's generation.
        updates: Number of updates that it begins with.
        train_s: Seconds of training that it begins with.
    """
    process = psutil.Process()
    return {
        "time": time.time(),
        "generation": generation,
        "updates": updates,
        "train_s": train_s,
        "command": command_line(),
        "host": socket.gethostname(),
        "process": process.pid,
        "process_time": process.create_time(),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": _machine(),
    }


def command_line() -> str:
    """Returns the command that this process runs, as one would type it."""
    program, *arguments = sys.argv or [""]
    path = Path(program)
    name = "distpolicy" if path.name in ("distpolicy", "__main__.py") else f"python {shlex.quote(program or '-')}"
    return " ".join([name, *map(shlex.quote, arguments)])


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_record(directory: RunDirectory, record: Mapping[str, Any]) -> None:
    """Writes ``run.json``.

    Raises:
        DistPolicyError: If it cannot be written.
    """
    write_file(directory.record_file, json.dumps(_plain(record), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Returns values that JSON has: infinity and NaN become texts."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_record(directory: RunDirectory) -> dict[str, Any]:
    """Returns what ``run.json`` holds; empty if there is none.

    Raises:
        ConfigError: If it cannot be read, or a later version of the project has written it.
    """
    path = directory.record_file
    if not path.is_file():
        return {}
    try:
        record = json.loads(read_text(path, _MAX_BYTES))
        written = record["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error or type(error).__name__}; move it away") from error
    if written != RECORD_FORMAT:
        raise ConfigError(
            f"{directory.path} was written by another version of distpolicy: {path.name} has format {written}, and "
            f"this version reads {RECORD_FORMAT}; use the version that wrote it, or a later one"
        )
    return record


def run_state(record: Mapping[str, Any], directory: RunDirectory) -> str:
    """Returns whether a run is ``running``, ``solved``, ``ended``, ``stopped``, ``failed`` or ``interrupted``.

    A run whose process is gone and that has told no end was killed, and counts as interrupted. Nothing is known of the
    processes of other machines: their runs count as running if they have written in the last quarter of an hour.

    Args:
        record: What ``run.json`` holds; empty if there is none.
        directory: The run directory.
    """
    if record.get("end"):
        return str(record["end"].get("state", "ended"))
    starts = record.get("starts") or []
    if not starts:
        return "ended" if directory.policy.is_dir() else "interrupted"
    start = starts[-1]
    if start.get("host") == socket.gethostname():
        try:
            since = psutil.Process(int(start["process"])).create_time()
        except (psutil.Error, KeyError, ValueError):
            return "interrupted"
        return "running" if abs(since - float(start.get("process_time", since))) < 1.0 else "interrupted"
    written = directory.metrics_file if directory.metrics_file.exists() else directory.record_file
    return "running" if time.time() - written.stat().st_mtime < _SILENT_S else "interrupted"
