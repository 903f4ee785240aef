"""Reading of files that others may have made or damaged: regular files only, up to a size, nested up to a depth.

Otherwise a FIFO would be waited for, a file of many gigabytes would use up the memory, and a deep nest the stack.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import stat
import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

MAX_DEPTH = 100


def read_bytes(path: str | Path, max_bytes: int) -> bytes:
    """Returns the content of a file.

    Args:
        path: The file.
        max_bytes: The most bytes that it may have.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a regular file, or larger.
    """
    with _opened(path, max_bytes) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {_size(max_bytes)}")
    return data


def sha256_of(path: str | Path, max_bytes: int) -> str:
    """Returns the SHA-256 of a file's content, which is never in memory as a whole; see :func:`read_bytes`."""
    with _opened(path, max_bytes) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: str | Path, max_bytes: int) -> str:
    """Returns the content of a file as text; see :func:`read_bytes`.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a regular file, is larger, or is not text.
    """
    try:
        return read_bytes(path, max_bytes).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not text in UTF-8 (byte {error.start})") from error


def check_file(path: str | Path, max_bytes: int = sys.maxsize) -> None:
    """Checks that a file that a library is going to read is a regular one, and not larger than ``max_bytes``.

    Raises:
        OSError: If it does not exist.
        ValueError: If it is something else or larger.
    """
    _check(os.stat(path), max_bytes)


@contextlib.contextmanager
def _opened(path: str | Path, max_bytes: int) -> Iterator[BufferedReader]:
    """Opens a regular file of no more bytes."""
    # Without O_NONBLOCK, opening a FIFO waits for somebody who writes to it.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _check(os.fstat(file.fileno()), max_bytes)
        yield file


def is_in_its_folder(name: str) -> bool:
    """Returns True if a name that a file gives of another one is a bare name, and does not lead elsewhere."""
    return name not in ("", "..") and Path(name).name == name


def parse_json(text: str) -> Any:
    """Returns what a JSON text stands for.

    Raises:
        json.JSONDecodeError: If it is not JSON.
        ValueError: If it is nested too deeply, has a key twice in an object, or a number that is too large.
    """
    try:
        value = json.loads(text, object_pairs_hook=dict_of_pairs, parse_float=finite_float)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from error
    nests = [value]
    for _ in range(MAX_DEPTH):
        nests = [child for nest in nests if isinstance(nest, dict | list) for child in _children(nest)]
    if nests:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    return value


def finite_float(text: str) -> float:
    """Returns the number that a text stands for.

    Raises:
        ValueError: If it is too large.
    """
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text if len(text) <= 40 else text[:37] + '...'} is too large for a number")
    return value


def dict_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the dict of a JSON object's keys and values.

    Raises:
        ValueError: If a key occurs twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} occurs twice; leave one out")
    return values


def _children(nest: dict[str, Any] | list[Any]) -> Any:
    return nest.values() if isinstance(nest, dict) else nest


def _check(found: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a regular file")
    if found.st_size > max_bytes:
        raise ValueError(f"it has {_size(found.st_size)}, more than {_size(max_bytes)}")


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.3g} MiB"
