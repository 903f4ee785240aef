"""apart: calls a function in a process of its own, which the code of an environment may end."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import selectors
import signal
import struct
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from distpolicy.errors import DistPolicyError, EnvironmentCrashedError
from distpolicy.utils.error_text import one_line
from launch.child_processes import adopted_processes_ended
from launch.signals import handled, leave
from workers.environments.processes.env_process import die_with_parent
from workers.last_words import hear_last_words

T = TypeVar("T")
_LENGTH = struct.Struct("<q")
_NOTE, _WORDS, _RESULT, _RAISED = "note", "words", "result", "raised"


def apart(call: Callable[[Callable[[Any], None]], T], explain: Callable[[Any, str], str]) -> T:
    """Calls a function in a process that is forked from this one. If its code ends that process, it is an error here.

    An environment may call ``os._exit``, or crash in C code. What it changes in its process is gone afterwards, and
    the programs that it has started are ended. A fork would lose the threads that others have started, such as
    TensorFlow's: where there are some, the function is called in this process.

    Args:
        call: The function. It is given a function that takes notes, for ``explain``. Its result is pickled.
        explain: Returns what to say if the process was lost, given the last note, or None, and how it ended.

    Returns:
        What the function returned.

    Raises:
        EnvironmentCrashedError: If the process was lost.
        BaseException: What the function raised.
    """
    if threading.active_count() > 1 or "tensorflow" in sys.modules:
        return call(lambda note: None)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with adopted_processes_ended(), tempfile.TemporaryFile() as stacks:
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            _serve(call, writer, stacks.fileno())
        os.close(writer)
        try:
            found = dict(_messages(_read(reader, process)))
        finally:
            os.close(reader)
        _, status = os.waitpid(process, 0)
        if _RESULT in found:
            return found[_RESULT]
        if _RAISED in found:
            raise found[_RAISED]
        stacks.seek(0)
        text = stacks.read().decode("utf-8", "replace")
        message = found.get(_WORDS) or explain(found.get(_NOTE), _described(status))
        raise EnvironmentCrashedError(message, traceback=text)


def _described(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _serve(call: Callable[[Callable[[Any], None]], Any], writer: int, stacks: int) -> NoReturn:
    """Calls the function and sends what came of it. Ends the process."""
    try:
        die_with_parent()
        faulthandler.enable(stacks)
        hear_last_words(lambda words: _send(writer, _WORDS, words))
        try:
            # The first signal lets it close its environments; there may be a second one, from the parent.
            with handled(leave):
                result = call(lambda note: _send(writer, _NOTE, note))
            for stream in {sys.stdout, sys.__stdout__}:
                if stream is not None:
                    stream.flush()
            _send(writer, _RESULT, result)
        except BaseException as error:
            _send(writer, _RAISED, _portable(error))
    finally:
        # Skips the interpreter's exit: what it would do belongs to the process that this one was forked from.
        os._exit(1)


def _portable(error: BaseException) -> BaseException:
    """Returns an error that can be pickled, with its traceback as text."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, DistPolicyError):
        if not getattr(error, "traceback", ""):
            error.traceback = text  # type: ignore[attr-defined]
    else:
        error.add_note(text)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return DistPolicyError(f"{type(error).__name__}: {one_line(error)}")
    return error


def _send(writer: int, kind: str, value: Any) -> None:
    data = pickle.dumps((kind, value))
    data = _LENGTH.pack(len(data)) + data
    while data:
        data = data[os.write(writer, data) :]


def _read(reader: int, process: int) -> bytes:
    """Returns all that a process writes until it ends. One that it has started may keep the pipe open."""
    chunks = []
    with contextlib.closing(selectors.DefaultSelector()) as selector, _process_file(process) as ending:
        selector.register(reader, selectors.EVENT_READ)
        selector.register(ending, selectors.EVENT_READ)
        while any(key.fd == reader for key, _ in selector.select()):
            chunk = os.read(reader, 2**16)
            if not chunk:
                break
            chunks.append(chunk)
    return b"".join(chunks)


@contextlib.contextmanager
def _process_file(process: int) -> Iterator[int]:
    descriptor = os.pidfd_open(process)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _messages(data: bytes) -> Iterator[tuple[str, Any]]:
    """Yields the messages in what a process has written. The last one may have been cut."""
    while len(data) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(data)
        message, data = data[_LENGTH.size : _LENGTH.size + length], data[_LENGTH.size + length :]
        if len(message) == length:
            yield pickle.loads(message)
