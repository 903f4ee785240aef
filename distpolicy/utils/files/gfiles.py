"""Reading of files in any file system that TensorFlow supports, with the limits of ``bounded_files``."""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf

from distpolicy.utils.files.bounded_files import check_file


def read_gfile(path: str | Path, max_bytes: int) -> str:
    """Returns the content of a file as text.

    Args:
        path: The file.
        max_bytes: The most bytes that it may have.

    Raises:
        tf.errors.OpError: If it cannot be read.
        ValueError: If it is not a regular file, is larger, or is not text.
    """
    name = os.fspath(path)
    if os.path.lexists(name):
        check_file(name, max_bytes)
    with tf.io.gfile.GFile(name, "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it has more than {max_bytes} bytes")
    return data.decode()
