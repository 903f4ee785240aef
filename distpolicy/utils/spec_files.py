"""Files of specs, in the format of TF-Agents. ``utils.common`` exports them."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.specs import tensor_spec
from distpolicy.specs.spec_proto import decode, encode


def save_spec(spec: Any, file_path: str | os.PathLike[str]) -> None:
    """Writes a nest of specs, with their bounds.

    Args:
        spec: Nest of tensor specs or array specs.
        file_path: The file. Its folder is created if it does not exist.
    """
    path = os.fspath(file_path)
    if os.path.dirname(path):
        tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(encode(tensor_spec.from_spec(spec)).SerializeToString())


def load_spec(file_path: str | os.PathLike[str]) -> Any:
    """Returns the nest of tensor specs that :func:`save_spec` wrote.

    A namedtuple comes back with the same name and fields, but as another class: ``Trajectory(*load_spec(file))``.

    Raises:
        ConfigError: If the file holds something else.
    """
    path = os.fspath(file_path)
    with tf.io.gfile.GFile(path, "rb") as file:
        content = file.read()
    try:
        return decode(content)
    # Its content is anything, so that TensorFlow may raise anything.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path} holds no specs; give a file that save_spec wrote: {reason}") from None
