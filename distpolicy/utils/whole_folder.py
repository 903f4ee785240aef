"""whole_folder: writes a folder whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Collection, Iterator

import tensorflow as tf

from distpolicy.errors import ConfigError


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], replaceable: Collection[str] = ()) -> Iterator[str]:
    """Yields a scratch folder beside ``path``, and moves it to ``path`` when the block ends without an error.

    A reader finds the old folder or the new one, never an incomplete one. Between two renames there is briefly none.
    After an error the scratch folder is removed and ``path`` is unchanged.

    Args:
        path: Folder to write, in any file system that TensorFlow supports.
        replaceable: Names of entries that the folder may already hold. They are replaced.

    Raises:
        ConfigError: If ``path`` is a file, or holds other entries.
    """
    target = os.fspath(path).rstrip("/")
    if tf.io.gfile.exists(target):
        _check_replaceable(target, replaceable)
    parent, name = os.path.split(target)
    tf.io.gfile.makedirs(parent or ".")
    mark = uuid.uuid4().hex[:12]
    scratch, aside = os.path.join(parent, f".{name}.new-{mark}"), os.path.join(parent, f".{name}.old-{mark}")
    try:
        yield scratch
        if tf.io.gfile.exists(target):
            tf.io.gfile.rename(target, aside)
        try:
            tf.io.gfile.rename(scratch, target)
        except tf.errors.OpError:
            if tf.io.gfile.exists(aside):
                tf.io.gfile.rename(aside, target)
            raise
        if tf.io.gfile.exists(aside):
            tf.io.gfile.rmtree(aside)
    finally:
        if tf.io.gfile.exists(scratch):
            tf.io.gfile.rmtree(scratch)


def _check_replaceable(target: str, replaceable: Collection[str]) -> None:
    if not tf.io.gfile.isdir(target):
        raise ConfigError(f"{target} is a file; give a folder")
    others = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(target) if name.rstrip("/") not in replaceable)
    if others:
        raise ConfigError(f"{target} holds {others[0]}, which would be lost; give an empty or a new folder")
