"""TensorBoardWriter: writes TensorBoard events at once, in the calling thread.

tensorboardX's own writer uses a thread. The thread dies if the disk is full, and adding events then waits for ever.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
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
        from tensorboardX.proto.event_pb2 import Event, SessionLog

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
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in figures.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self._file.append(_record(event.SerializeToString()))

    def close(self) -> None:
        """Closes the file; may be called twice."""
        self._file.close()


def _record(data: bytes) -> bytes:
    """A TFRecord: length and data, each with its masked CRC-32C."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(data))
    return b"".join([length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))])
