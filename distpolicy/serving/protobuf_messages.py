"""The messages of gRPC, as protocol buffers: arrays travel as their bytes.

``proto_text()`` is the ``.proto`` file for clients in other languages. The server has it at ``/docs/policy.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from distpolicy.serving.documents import array_from_bytes
from distpolicy.serving.messages import ServingError
from distpolicy.utils.nests.array_nest import flatten, pack_leaves, paths

PACKAGE = "distpolicy.v1"
SERVICE = f"{PACKAGE}.Policy"
METHODS = {"Act": ("ActRequest", "ActReply"), "EndSession": ("EndSessionRequest", "EndSessionReply")}

# For each message its fields: the number is the place. "repeated" and "optional" as in the language.
_MESSAGES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Array": (
        ("string name", "", "The leaf's path in its nest, such as /position; empty for a nest of a single array."),
        ("string dtype", "", "NumPy's name: float32, int64, bool and so on."),
        ("int64 shape", "repeated", "With a batch dimension for a batch."),
        ("bytes data", "", "In C order, little-endian."),
    ),
    "ActRequest": (
        ("Array observation", "repeated", "The leaves of one observation or of a batch."),
        ("Array first", "", "Whether an episode begins: one bool, or one for each row."),
        ("Array reward", "", "Reward of the last step, for policies that look at it."),
        ("Array discount", "", "Discount of the last step."),
        ("Array state", "repeated", "The state of the last reply, if the client keeps it."),
        ("string session", "optional", "The session of the last reply, if the server keeps the state."),
        ("int64 seed", "optional", "Seed of the draws of a policy that draws its actions."),
    ),
    "ActReply": (
        ("Array action", "repeated", "The leaves of the action or of the actions."),
        ("int64 version", "", "The version of the weights that computed it."),
        ("Array info", "repeated", "What the policy tells beside, such as log-probabilities."),
        ("Array state", "repeated", "The state to send with the next request."),
        ("string session", "optional", "The session to name in the next request."),
    ),
    "EndSessionRequest": (("string session", "", "The session to end."),),
    "EndSessionReply": (),
}

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {"string": _Field.TYPE_STRING, "int64": _Field.TYPE_INT64, "bytes": _Field.TYPE_BYTES}


def proto_text() -> str:
    """Returns the messages and the service in the language of protocol buffers."""
    lines = ['syntax = "proto3";', "", f"package {PACKAGE};", "", f"service {SERVICE.rpartition('.')[2]} {{"]
    lines += [f"  rpc {name}({given}) returns ({answer});" for name, (given, answer) in METHODS.items()]
    lines.append("}")
    for name, fields in _MESSAGES.items():
        lines += ["", f"message {name} {{"]
        for number, (field, label, told) in enumerate(fields, 1):
            lines += [f"  // {told}", f"  {label} {field} = {number};".replace("   ", "  ")]
        lines.append("}")
    return "\n".join(lines) + "\n"


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="distpolicy/policy.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (text, label, _) in enumerate(fields, 1):
            kind, field_name = text.split()
            field = message.field.add(name=field_name, number=number)
            field.label = _Field.LABEL_REPEATED if label == "repeated" else _Field.LABEL_OPTIONAL
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            if label == "optional":
                field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())


def message_class(name: str) -> Any:
    """Returns the class of a message."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


Array = message_class("Array")
ActRequestMessage = message_class("ActRequest")
ActReplyMessage = message_class("ActReply")
EndSessionRequestMessage = message_class("EndSessionRequest")
EndSessionReplyMessage = message_class("EndSessionReply")


def arrays_of(nest: Any) -> list[Any]:
    """Returns the leaves of a nest as messages."""
    return [array_of(leaf, path) for path, leaf in zip(paths(nest), flatten(nest), strict=True)]


def array_of(value: Any, name: str = "") -> Any:
    """Returns an array as a message."""
    array = np.asarray(value)
    return Array(name=name, dtype=array.dtype.name, shape=array.shape, data=array.tobytes())


def from_array(message: Any) -> np.ndarray:
    """Returns the array of a message, read-only.

    Raises:
        ServingError: If its parts do not fit together.
    """
    return array_from_bytes(message.dtype, list(message.shape), message.data)


def nest_of(messages: Sequence[Any], spec: Any, name: str) -> Any:
    """Returns the nest of some leaves.

    Args:
        messages: The leaves.
        spec: A nest with the same structure.
        name: What it is, for errors.

    Raises:
        ServingError: If a leaf is missing, is not in the spec, or is damaged.
    """
    found = {item.name: item for item in messages}
    expected = paths(spec)
    _check_names(found, expected, name)
    return pack_leaves(spec, [from_array(found[path]) for path in expected])


def nest_by_paths(messages: Iterable[Any]) -> Any:
    """Returns the nest of some leaves as dicts, by their paths alone: for a client, which does not know the specs."""
    nest: dict[str, Any] = {}
    for message in messages:
        if not message.name:
            return from_array(message)
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in message.name.split("/")[1:]]
        place = nest
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = from_array(message)
    return nest


def _check_names(found: dict[str, Any], expected: list[str], name: str) -> None:
    for path in expected:
        if path not in found:
            raise ServingError(f"{name}{path} is missing")
    for path in found:
        if path not in expected:
            raise ServingError(f"{name}: unknown leaf {path[:100]!r}; there are {', '.join(map(repr, expected))}")
