"""The short help of a command: its most used options in groups, a line or two each, with defaults."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

_WIDTH, _INDENT = 100, 34


class Choice(typing.NamedTuple):
    """One option.

    Attributes:
        option: The option as it is typed, such as ``--env``, or a positional's name.
        owner: The dataclass that has the field.
        field: The field's name.
        default: The default; None shows nothing.
    """

    option: str
    owner: type
    field: str
    default: Any = None


def short_help(command: str, about: str, groups: Mapping[str, Sequence[Choice]]) -> str:
    """Returns the help of a command.

    Args:
        command: The command's name.
        about: A description of the command.
        groups: The options by the title of their group.
    """
    positional = "".join(f"{item.option} " for item in groups.get("", ()))
    lines = [f"usage: distpolicy {command} {positional}[OPTIONS]", "", *textwrap.wrap(about, _WIDTH), ""]
    for title, choices in groups.items():
        lines += [title + ":"] if title else []
        for choice in choices:
            lines += _described(choice)
        lines.append("")
    lines.append(f"distpolicy {command} --help-all lists all options.")
    return "\n".join(lines) + "\n"


def _described(choice: Choice) -> list[str]:
    hint = typing.get_type_hints(choice.owner)[choice.field]
    head = f"  {choice.option} {'' if choice.option.isupper() else _metavar(hint)}".rstrip()
    text = field_documents(choice.owner).get(choice.field, "").split(". ")[0].rstrip(".")
    if _says_something(choice.default):
        text += f" (default: {_shown(choice.default)})"
    body = textwrap.wrap(text, _WIDTH - _INDENT)
    if len(head) < _INDENT - 1:
        first, rest = head.ljust(_INDENT) + (body[0] if body else ""), body[1:]
    else:
        first, rest = head, body
    return [first, *(" " * _INDENT + line for line in rest)]


def _says_something(default: Any) -> bool:
    return not any(default is nothing for nothing in (None, False, dataclasses.MISSING)) and default not in ((), {})


def _metavar(hint: Any) -> str:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "{" + ",".join(map(str, options)) + "}"
    if origin is typing.Annotated:
        return _metavar(options[0])
    if origin in (typing.Union, types.UnionType):
        return _metavar(next(option for option in options if option is not type(None)))
    if origin is tuple:
        return f"{_metavar(options[0])} ..."
    if origin is dict:
        return "KEY VALUE ..."
    return {int: "N", float: "X", str: "TEXT", Path: "PATH", bool: ""}.get(hint, "TEXT")


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def field_documents(kind: type) -> dict[str, str]:
    """Returns the docstring under each field of a dataclass and of its base classes, in one line."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(owner) or owner.__module__ == "types":
            continue
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        except (OSError, TypeError):  # The class was made at run time and has no source.
            continue
        assert isinstance(body, ast.ClassDef)
        for before, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and _is_text(after):
                found[before.target.id] = " ".join(ast.literal_eval(after.value).split())  # type: ignore[attr-defined]
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
