"""Conversion of nests of tensor specs to StructuredValue protos, the format of SavedModels and TF-Agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format

# The format that tf.saved_model uses for signatures. It has no public name.
from tensorflow.core.protobuf import struct_pb2
from tensorflow.python.saved_model import nested_structure_coder

from distpolicy.errors import ConfigError
from distpolicy.utils.files.gfiles import read_gfile

_MAX_BYTES = 16 * 2**20


def encode(spec: Any) -> struct_pb2.StructuredValue:
    """Returns a nest of tensor specs as a proto. Bounds are kept."""
    return nested_structure_coder.encode_structure(spec)


def from_proto(spec_proto: struct_pb2.StructuredValue) -> Any:
    """Returns the nest of tensor specs that :func:`encode` encoded.

    A namedtuple comes back with the same name and fields, but as another class.
    """
    return nested_structure_coder.decode_proto(spec_proto)


def decode(content: bytes) -> Any:
    """Returns the nest of tensor specs of a serialised proto."""
    return from_proto(struct_pb2.StructuredValue.FromString(content))


def from_packed_proto(spec_packed_proto: Any) -> Any:
    """Returns the nest of tensor specs from a proto that was packed into a ``google.protobuf.Any``."""
    proto = struct_pb2.StructuredValue()
    spec_packed_proto.Unpack(proto)
    return from_proto(proto)


def encode_to_file(output_path: str | Path, spec: Any) -> None:
    """Writes a nest of tensor specs to a text file."""
    with tf.io.gfile.GFile(str(output_path), "w") as file:
        file.write(text_format.MessageToString(encode(spec)))


def from_pbtxt_file(spec_path: str | Path) -> Any:
    """Reads a nest of tensor specs that :func:`encode_to_file` or TF-Agents wrote.

    Raises:
        tf.errors.NotFoundError: If the file does not exist.
        ConfigError: If the file holds something else.
    """
    try:
        text = read_gfile(spec_path, _MAX_BYTES)
        return from_proto(text_format.Parse(text, struct_pb2.StructuredValue()))
    except tf.errors.NotFoundError:
        raise
    # Its content is anything, so that TensorFlow may raise anything.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{spec_path} holds no specs; give a file that to_pbtxt_file wrote: {reason}") from None
