"""Folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Collection, Iterator

import tensorflow as tf

from distpolicy.errors import ConfigError


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], replaceable: Collection[str] = ()) -> Iterator[str]:
    """A scratch folder beside ``path`` that takes its place once the block has ended without an error.

    A reader finds the old folder, none for the moment between two renames, or the new one; never half of it. After an
    error the scratch folder is gone and ``path`` is as it was.

    Args:
        path: Folder to write; a local path, or another file system that TensorFlow knows.
        replaceable: Names of what the folder may hold already; it is replaced.

    Raises:
        ConfigError: If ``path`` is a file, or holds something else.
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
        raise ConfigError(f"{target} holds {others[0]}, which was not written by this; give an empty or a new folder")
