"""The process of one environment, and the messages between it and the program.

The process makes the environment, then answers one request after another until the connection closes.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import cloudpickle

CONSTRUCT = "construct"
"""Name of the first request, whose argument is the pickle of the environment's constructor."""


class Request(NamedTuple):
    """What the process has to do.

    Attributes:
        name: Name of the environment's attribute.
        arguments: Positional and keyword arguments of a call; None to read the attribute.
    """

    name: str
    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None


class Failure(NamedTuple):
    """Stands for a result if there is none.

    Attributes:
        kind: Name of the error's class.
        message: The error in one line.
        traceback: The error's traceback as text.
    """

    kind: str
    message: str
    traceback: str


def send(connection: Connection, value: Any) -> None:
    """Sends a request or a result. Classes of the caller's script travel with it."""
    connection.send_bytes(cloudpickle.dumps(value))


def receive(connection: Connection) -> Any:
    """Returns what :func:`send` sent. It must come from the program's own process.

    Raises:
        EOFError: If the other side has ended.
    """
    return pickle.loads(connection.recv_bytes())


def serve(connection: Connection) -> None:
    """Answers requests until the connection closes, or until the environment fails.

    An environment that raised in ``reset`` or ``step`` is in an unknown state, so it is not stepped again.
    """
    env: Any = None
    with suppress(EOFError, ConnectionError):
        while True:
            request: Request = receive(connection)
            try:
                if request.name == CONSTRUCT:
                    assert request.arguments is not None
                    env, result = pickle.loads(request.arguments[0][0])(), None
                else:
                    result = getattr(env, request.name)
                    if request.arguments is not None:
                        result = result(*request.arguments[0], **request.arguments[1])
                send(connection, result)
            except ConnectionError:
                break
            except Exception as error:
                message = f"{type(error).__name__}: {error}".strip().splitlines()[0]
                send(connection, Failure(type(error).__name__, message, traceback.format_exc()))
                if request.name in (CONSTRUCT, "reset", "step"):
                    break
    if env is not None:
        env.close()


def _end_with_parent() -> None:
    """Ends this process as soon as its parent has ended, even if the environment hangs."""
    os.read(0, 1)
    os._exit(1)


def main(descriptor: int) -> None:
    """Serves the connection with this file descriptor."""
    # Whoever presses Ctrl-C means the program, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(Connection(descriptor))
