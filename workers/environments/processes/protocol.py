"""The protocol between a ProcessEnvironment, its fork server and the processes of its environments."""

from __future__ import annotations

import socket
import struct

# To a process: the command, and the seed of a reset or -1 for none.
COMMAND = struct.Struct("<cq")
RESET, STEP = b"R", b"S"

# From a process: the result. ENDED, RAISED and MISMATCH are followed by texts; ENDED by the info's numbers as JSON.
DONE, ENDED, RAISED, MISMATCH = b"D", b"E", b"R", b"M"
_LENGTH = struct.Struct("<q")


def send_text(connection: socket.socket, kind: bytes, texts: list[str]) -> None:
    """Sends a result and its texts.

    Args:
        connection: The socket to send to.
        kind: ``ENDED``, ``RAISED`` or ``MISMATCH``.
        texts: What :func:`receive_texts` returns at the other end.
    """
    parts = [text.encode("utf-8", "replace") for text in texts]
    lengths = b"".join(_LENGTH.pack(len(part)) for part in parts)
    connection.sendall(kind + lengths + b"".join(parts))


def receive_texts(connection: socket.socket, count: int) -> list[str]:
    """Returns the texts that follow a result.

    Args:
        connection: The socket to read from.
        count: Number of texts.

    Raises:
        EOFError: If the other end is gone.
    """
    lengths = [_LENGTH.unpack(receive(connection, _LENGTH.size))[0] for _ in range(count)]
    return [receive(connection, length).decode() for length in lengths]


def receive(connection: socket.socket, size: int) -> bytes:
    """Returns exactly ``size`` bytes.

    Raises:
        EOFError: If the other end is gone.
    """
    chunks = []
    while size:
        chunk = connection.recv(size)
        if not chunk:
            raise EOFError
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
