"""saved_specs: the observations and actions of a SavedModel, read without TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import text_encoding

from distpolicy.specs.array_spec import ArraySpec

SPECS_FILE = "policy_specs.pbtxt"
_MAX_BYTES = 16 * 2**20
_MAX_DEPTH = 200
_TOKEN = re.compile(r"""[{}:]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s{}:"']+""")
_DTYPES = {
    "DT_FLOAT": np.float32,
    "DT_DOUBLE": np.float64,
    "DT_HALF": np.float16,
    "DT_BOOL": np.bool_,
    **{f"DT_{kind.upper()}{size}": f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)},
}


class SavedSpecs(NamedTuple):
    """The specs of a SavedModel's policy, without bounds.

    Attributes:
        observation: Nest of array specs of one observation.
        action: Nest of array specs of one action.
    """

    observation: Any
    action: Any


def read_saved_specs(folder: Path) -> SavedSpecs | None:
    """Returns a policy's specs from its ``policy_specs.pbtxt``.

    Returns None if the file is missing, is damaged, or has specs of a kind that is not known here: the worker that
    loads the policy finds out more.

    Args:
        folder: The SavedModel's folder.
    """
    path = folder / SPECS_FILE
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        content = _message(_tokens(path.read_text("utf-8")), 0)
        specs = _nest(content)
        data = specs["collect_data_spec"]
        return SavedSpecs(data["observation"], data["action"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration):
        return None


# The fields of a protocol buffer's message by name, each with all its values.
_Message = dict[str, list[Any]]


def _tokens(text: str) -> Iterator[str]:
    return (found[0] for found in _TOKEN.finditer(text))


def _message(tokens: Iterator[str], depth: int) -> _Message:
    """Returns a message of protobuf's text format up to its closing brace."""
    if depth > _MAX_DEPTH:
        raise ValueError("the specs are nested too deeply")
    fields: _Message = {}
    for name in tokens:
        if name == "}":
            return fields
        mark = next(tokens)
        value = next(tokens) if mark == ":" else mark
        fields.setdefault(name, []).append(_message(tokens, depth + 1) if value == "{" else value)
    return fields


def _nest(value: _Message) -> Any:
    ((kind, (content,)),) = value.items()
    if kind == "dict_value":
        return {_text(item["key"][0]): _nest(item["value"][0]) for item in content.get("fields", [])}
    if kind == "named_tuple_value":
        return {_text(item["key"][0]): _nest(item["value"][0]) for item in content.get("values", [])}
    if kind in ("tuple_value", "list_value"):
        return tuple(_nest(item) for item in content.get("values", []))
    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        (shape,) = content["shape"]
        sizes = tuple(int(item["size"][0]) if "size" in item else 0 for item in shape.get("dim", []))
        return ArraySpec(sizes, _DTYPES[content["dtype"][0]])
    raise ValueError(f"a {kind} is not known here")


def _text(quoted: str) -> str:
    return text_encoding.CUnescape(quoted[1:-1]).decode()
