"""Conversion of configs to plain values and YAML, and back."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import types
import typing
from pathlib import Path
from typing import Any, Literal

import yaml

from distpolicy.errors import ConfigError
from distpolicy.utils.files.bounded_files import MAX_DEPTH, read_text

MAX_CONFIG_BYTES = 2**20


def to_dict(config: Any) -> dict[str, Any]:
    """Returns the config as plain dicts, lists and scalars.

    If a class has an attribute ``kind``, it is one of several, and the key ``kind`` names it.
    """
    kind = getattr(type(config), "kind", None)
    return ({} if kind is None else {"kind": kind}) | {
        item.name: to_dict(value) if dataclasses.is_dataclass(value) else _plain(value)
        for item in dataclasses.fields(config)
        for value in [getattr(config, item.name)]
    }


def _plain(value: Any) -> Any:
    if callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def from_dict(kind: Any, values: dict[str, Any], where: str, base: Any = None) -> Any:
    """Returns a config dataclass from plain values. Missing fields are as in ``base``, or have their defaults.

    Args:
        kind: The dataclass. If it has ``of_kind(name)``, the key ``kind`` chooses one of its subclasses.
        values: Its fields; nested dataclasses are dicts.
        where: The file that the values come from, for messages.
        base: A config of the same kind.

    Raises:
        ConfigError: For an unknown key or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected keys and values, got {values!r}")
    if hasattr(kind, "of_kind"):
        name = values.get("kind", getattr(base, "kind", None))
        if not isinstance(name, str):
            raise ConfigError(f"{where}: the key 'kind' is missing")
        kind, values = kind.of_kind(name), {key: value for key, value in values.items() if key != "kind"}
        base = base if isinstance(base, kind) else None
    hints = typing.get_type_hints(kind)
    fields = {item.name for item in dataclasses.fields(kind)}
    arguments = {} if base is None else {name: getattr(base, name) for name in fields}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(fields))}")
        if dataclasses.is_dataclass(hints[key]):
            value = from_dict(hints[key], value, f"{where}: {key}", arguments.get(key))
        else:
            value = _checked(hints[key], value, f"{where}: {key}")
        arguments[key] = value
    return kind(**arguments)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """Returns the value as the hint's type. Accepts a whole number in either form, and a list as a tuple."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in options:
            return value
        raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(str, options))}")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        options = tuple(option for option in options if option is not type(None))
        for option in options[:-1]:
            with contextlib.suppress(ConfigError):
                return _checked(option, value, where)
        return _checked(options[-1], value, where)
    if origin is tuple and isinstance(value, list | tuple):
        if options[-1] is not Ellipsis and len(value) != len(options):
            raise ConfigError(f"{where}: expected {len(options)} values, got {value!r}")
        return tuple(_checked(options[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise ConfigError(f"{where}: the name {name!r} is not a text; put it in quotes")
            _check_plain(item, f"{where}: {name}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: a number of {len(str(value))} digits is too large") from None
    if hint is int and isinstance(value, float) and value.is_integer():
        # 1e6 is a float in YAML, and a count on the command line.
        return int(value)
    if hint is bool and isinstance(value, str):
        raise ConfigError(f"{where}: expected true or false, got {value!r}")
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")


def _check_plain(value: Any, where: str) -> None:
    """Raises ConfigError for what JSON does not hold, such as YAML's sets and bytes."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_plain(item, where)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise ConfigError(f"{where}: expected numbers, texts, lists or mappings, got a {type(value).__name__}")


class _Dumper(yaml.SafeDumper):
    """Writes a list that occurs twice in full both times."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Loader(yaml.SafeLoader):
    """Refuses keys that occur twice, nests that are too deep, and aliases, by which a short file can stand for a huge
    one."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*); write the value again instead")
        if self._depth == MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} deep")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        values = super().construct_mapping(node, deep)
        names = [key.value for key, _ in node.value]
        if len(values) < len(names):
            twice = next((name for name in names if names.count(name) > 1), names[-1])
            raise yaml.YAMLError(f"the key {twice!r} occurs twice; leave one out")
        return values


_WHOLE = r"(?:0|[1-9][0-9_]*)"
_EXPONENT = r"[eE][-+]?[0-9]+"
_NUMBER = rf"{_WHOLE}{_EXPONENT}|(?:{_WHOLE}\.[0-9_]*|\.[0-9][0-9_]*)(?:{_EXPONENT})?"
# As in YAML 1.2. In YAML 1.1, which PyYAML reads, 1e-3 is a text, 010 is 8, 12:30 is 750, "no" is False, and
# 2024-01-01 is a date.
_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (rf"[-+]?{_WHOLE}|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    "float": (rf"[-+]?(?:{_NUMBER}|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)", "-+.0123456789"),
}
_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _SCALARS.items():
    _regexp = re.compile(rf"(?:{_pattern})\Z")
    _firsts = [*_first, ""] if _name == "null" else list(_first)
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _regexp, _firsts)
    # Texts that look like a value to any reader are written in quotes.
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _regexp, _firsts)


def dump(config: Any) -> str:
    """Returns the config as YAML."""
    return dump_values(to_dict(config))


def dump_values(values: Any) -> str:
    """Returns plain values as YAML, as configs are written."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def load_yaml(path: Path) -> Any:
    """Returns what a YAML file holds.

    Raises:
        ConfigError: If the file cannot be read, or is not YAML, or is too large or too deep.
    """
    try:
        # A subclass of SafeLoader makes plain values only.
        return yaml.load(read_text(path, MAX_CONFIG_BYTES), _Loader)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"cannot read {path}: {where}{error.problem}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"cannot read {path}: {reason}") from error
