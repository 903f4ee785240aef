"""The values of options: counts such as ``1e6`` and ``500k``, arguments of environments as JSON, absolute paths."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from distpolicy.errors import ConfigError
from distpolicy.utils.files.bounded_files import finite_float, parse_json
from launch.output.writable import check_name

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}
_COUNT = re.compile(r"([+-]?[0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE][+]?[0-9]{1,2})?)([kKmMgGbB]?)")
# Python's words for values that JSON spells otherwise.
_PYTHON_WORDS = {"True": True, "False": False, "None": None}
# Numbers that JSON spells otherwise: +5, 1_000, .5. What has zeros in front, such as 007, is a text.
_WHOLE = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_KEY = re.compile(r"[A-Za-z_][\w.-]*")


def count(text: str) -> int:
    """Returns a whole number, given as ``1000000``, ``1_000_000``, ``1e6``, ``1M``, ``0.5M`` or ``500k``.

    Raises:
        ValueError: If the text is not a whole number.
    """
    found = _COUNT.fullmatch(text.strip())
    try:
        if found is not None:
            unit = found[2].lower() if found[2] in ("k", "K") else found[2].upper()
            value = Decimal(found[1].replace("_", "").replace(",", "")) * _UNITS[unit]
            if value == value.to_integral_value():
                return int(value)
    except InvalidOperation:
        pass
    raise ValueError(f"{text!r} is not a whole number such as 1000000, 1e6, 1M or 500k")


def keyword_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Returns arguments, each given as ``KEY VALUE`` or as ``KEY=VALUE``.

    A value is read as JSON if it is JSON (``false``, ``0.5``, ``[3, 4]``, ``{"a": 1}``, ``"false"`` for the text), or
    as Python's True, False or None. Any other value is a text.

    Raises:
        ValueError: If a key has no value, or occurs twice, or a number is too large.
    """
    arguments: dict[str, Any] = {}
    rest = list(texts)
    while rest:
        key, equals, value = rest.pop(0).partition("=")
        if not equals:
            if not rest:
                raise ValueError(f"{key!r} has no value: write {key} VALUE or {key}=VALUE")
            value = rest.pop(0)
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not the name of an argument: write KEY VALUE or KEY=VALUE")
        if key in arguments:
            raise ValueError(f"{key!r} is given twice; leave one out")
        arguments[key] = _value(value)
    return arguments


def _value(text: str) -> Any:
    if text in _PYTHON_WORDS:
        return _PYTHON_WORDS[text]
    try:
        return parse_json(text)
    except json.JSONDecodeError:
        pass
    if _NUMBER.fullmatch(text):
        return int(text) if _WHOLE.fullmatch(text) else finite_float(text)
    return float(text) if text.lower().lstrip("+-") in ("nan", "inf", "infinity") else text


def _shown_value(value: Any) -> str:
    return value if isinstance(value, str) and _value(value) == value else json.dumps(value)


def absolute_path(text: str) -> Path:
    """Returns the absolute path, since an environment may change the working directory later.

    Raises:
        ConfigError: If the text is empty, as a variable of the shell is that was never set. Or if it cannot be a path.
    """
    if not text:
        raise ConfigError("a path is empty: give the name of a file or folder")
    path = Path(text).expanduser().absolute()
    check_name(path)
    return path


REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _path_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda texts: absolute_path(texts[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


@REGISTRY.primitive_rule
def _count_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    if info.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda texts: count(texts[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


@REGISTRY.primitive_rule
def _dict_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[dict[str, Any]] | None:
    if typing.get_origin(info.type) is not dict:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="[KEY VALUE|KEY=VALUE ...]",
        instance_from_str=keyword_arguments,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [text for key in value for text in (key, _shown_value(value[key]))],
    )
