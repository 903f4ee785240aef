"""The two forms of a message over HTTP: JSON, and msgpack with arrays as their bytes.

JSON is strict: where a reply's array has NaN or infinite values, it has null.

In msgpack an array is a map of ``dtype`` (NumPy's name), ``shape`` and ``data``, its bytes in C order, little-endian.
Lists of numbers are taken, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
import numpy as np

from distpolicy.serving.messages import ServingError
from distpolicy.utils.files.bounded_files import dict_of_pairs

JSON = "application/json"
MSGPACK = "application/msgpack"

MAX_DEPTH = 50
_ARRAY_KEYS = frozenset({"dtype", "shape", "data"})
_MAX_RANK = 32
DTYPES = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    )
}


class Form(NamedTuple):
    """A form of messages.

    Attributes:
        encode: From a nest of plain values and arrays to bytes.
        decode: From bytes to such a nest; raises ``ServingError``.
    """

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def array_from_bytes(dtype: Any, shape: Any, data: Any) -> np.ndarray:
    """Returns an array over bytes, read-only.

    Raises:
        ServingError: If the three do not fit together.
    """
    found = DTYPES.get(dtype) if isinstance(dtype, str) else None
    if found is None:
        raise ServingError(f"unknown dtype {str(dtype)[:50]!r}; there are {', '.join(DTYPES)}")
    if len(shape) > _MAX_RANK or not all(type(size) is int and size >= 0 for size in shape):
        raise ServingError("an array's shape must be a list of sizes")
    expected = math.prod(shape) * found.itemsize
    if len(data) != expected:
        raise ServingError(f"an array of {dtype}{list(shape)} has {expected} bytes, but data has {len(data)}")
    return np.frombuffer(data, found).reshape(shape)


def _encode_json(value: Any) -> bytes:
    try:
        return _strict_json.encode(value).encode()
    except ValueError:
        # JSON has neither NaN nor infinite numbers: null stands for them.
        plain = json.loads(json.dumps(value, default=_plain), parse_constant=lambda name: None)
        return _strict_json.encode(plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


_strict_json = json.JSONEncoder(default=_plain, separators=(",", ":"), allow_nan=False)


def _decode_json(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=dict_of_pairs)
    except RecursionError:
        raise ServingError(f"the body is nested more than {MAX_DEPTH} deep") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ServingError(f"the body is not JSON: {error}") from None
    except ValueError as error:
        raise ServingError(f"the body cannot be read: {error}") from None


def _encode_msgpack(value: Any) -> bytes:
    return msgpack.packb(value, default=_as_map)


def _as_map(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        # ascontiguousarray makes scalars arrays of one.
        return {"dtype": array.dtype.name, "shape": list(np.shape(value)), "data": array.tobytes()}
    raise TypeError(f"{type(value).__name__} has no form in msgpack")


def _decode_msgpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, object_hook=_from_map, strict_map_key=False)
    except ServingError:
        raise
    except Exception as error:  # Damaged bytes raise any of a dozen classes.
        raise ServingError(f"the body is not msgpack: {type(error).__name__} {error}") from None


def _from_map(value: dict[Any, Any]) -> Any:
    if value.keys() == _ARRAY_KEYS and isinstance(value["data"], bytes) and isinstance(value["shape"], list):
        return array_from_bytes(value["dtype"], value["shape"], value["data"])
    return value


FORMS = {JSON: Form(_encode_json, _decode_json), MSGPACK: Form(_encode_msgpack, _decode_msgpack)}
