"""Names and signatures of the public classes, methods and functions of the modules that both libraries have."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from golden_registry import MODULES, Namespace

_PLAIN = (bool, int, float, str, type(None))


def signatures(namespace: Namespace) -> dict[str, Any]:
    """The parameters of everything public that the library's modules define.

    The keys are ``module.name`` and ``module.Class.name``; a property is the word ``property``.
    """
    found: dict[str, Any] = {}
    for short in sorted(MODULES):
        module = getattr(namespace, short)
        for name, member in _public(module):
            if getattr(member, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(member):
                found[f"{short}.{name}"] = parameters(member.__init__)
                for attribute, value in _public(member):
                    if attribute in vars(member) and (inspect.isfunction(value) or isinstance(value, property)):
                        found[f"{short}.{name}.{attribute}"] = describe(value)
            elif inspect.isfunction(member):
                found[f"{short}.{name}"] = parameters(member)
    return found


def describe(member: Any) -> Any:
    """The word ``property``, or the parameters of a function or of a class's constructor."""
    if isinstance(member, property):
        return "property"
    return parameters(member.__init__ if inspect.isclass(member) else member)


def _public(holder: Any) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(holder, name)) for name in sorted(dir(holder)) if not name.startswith("_"))


def parameters(function: Any) -> list[list[Any]]:
    """``[name, default]`` for each parameter but ``self``, ``*args`` and ``**kwargs``.

    Only the name if it has no default, and ``"..."`` for a default that is no plain value.
    """
    kept = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kept.append(
            [parameter.name] if parameter.default is parameter.empty else [parameter.name, _default(parameter.default)]
        )
    return kept


def _default(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_default(item) for item in value]
    return value if isinstance(value, _PLAIN) else "..."
