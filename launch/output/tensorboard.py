"""TensorBoardWriter: writes TensorBoard events at once, in the calling thread.

tensorboardX's own writer uses a thread. The thread dies if the disk is full, and adding events then waits for ever.
"""

from __future__ import annotations

import importlib
import importlib.util
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distpolicy.utils.atomic_files import GrowingFile


class TensorBoardWriter:
    """A file of events in TensorBoard's format.

    Args:
        folder: Folder of the file.
        purge_step: TensorBoard drops the events of earlier files from this step on; None to keep all.

    Raises:
        DistPolicyError: If the file cannot be written.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self._events, self._summaries = tensorboardx_module("proto.event_pb2"), tensorboardx_module("proto.summary_pb2")
        Event, SessionLog = self._events.Event, self._events.SessionLog
        events = [Event(wall_time=time.time(), file_version="brain.Event:2")]
        if purge_step is not None:
            log = SessionLog(status=SessionLog.START)
            events.append(Event(wall_time=time.time(), step=purge_step, session_log=log))
        # TensorBoard reads files in the order of their names, and a run may begin several files within a second.
        now_s, rest_ns = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{now_s}.{socket.gethostname()}.{rest_ns:09d}"
        self._file = GrowingFile(folder / name, b"".join(_record(event.SerializeToString()) for event in events))

    def add(self, figures: Mapping[str, Any], step: int) -> None:
        """Adds the scalars of one step.

        Args:
            figures: Scalars by tag.
            step: The step.

        Raises:
            DistPolicyError: If they cannot be written.
        """
        Value = self._summaries.Summary.Value
        self.add_values([Value(tag=tag, simple_value=float(value)) for tag, value in figures.items()], step)

    def add_values(self, values: Sequence[Any], step: int) -> None:
        """Adds values of any kind, as :mod:`launch.output.tensorboard_plugins` makes them.

        Args:
            values: Protocol buffers ``Summary.Value``.
            step: The step.

        Raises:
            DistPolicyError: If they cannot be written.
        """
        summary = self._summaries.Summary(value=values)
        event = self._events.Event(wall_time=time.time(), step=step, summary=summary)
        self._file.append(_record(event.SerializeToString()))

    def close(self) -> None:
        """Closes the file; may be called twice."""
        self._file.close()


def _record(data: bytes) -> bytes:
    """Returns a TFRecord: length and data, each with its masked CRC-32C."""
    length = struct.pack("<Q", len(data))
    return b"".join([length, _masked_crc32c(length), data, _masked_crc32c(data)])


def _masked_crc32c(data: bytes) -> bytes:
    crc = tensorboardx_module("crc32c").crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def tensorboardx_module(name: str) -> Any:
    """Returns a module of tensorboardX without the package's own imports, which include PyTorch if it is installed.

    PyTorch takes 650 MiB, and a driver would have it only for this.
    """
    package = "tensorboardX"
    if package in sys.modules or f"{package}.{name}" in sys.modules:
        return importlib.import_module(f"{package}.{name}")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    # The package is there as a place for its modules, but is not executed. Whoever imports it later gets it whole.
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(f"{package}.{name}")
    finally:
        del sys.modules[package]
