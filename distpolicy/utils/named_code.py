"""Checks of classes and functions that settings name as ``module:name``."""

from __future__ import annotations

import functools
import sys
from typing import Any


def why_unfit(target: Any, bases: tuple[type, ...]) -> str | None:
    """Returns why a named object cannot be what makes an environment, a wrapper or an agent; None if it can.

    This refuses what was named by mistake or to do harm, such as ``subprocess:Popen``.

    Args:
        target: What the name stands for.
        bases: A class has to be a subclass of one of these. A function may be any that Python itself does not bring.
    """
    while isinstance(target, functools.partial):
        target = target.func
    if not callable(target):
        return f"is not a class or a function, but of type {type(target).__name__}"
    if isinstance(target, type):
        wanted = " or ".join(f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in bases)
        return None if issubclass(target, bases) else f"is not a subclass of {wanted}"
    module = str(getattr(target, "__module__", None) or type(target).__module__)
    return "is a function of Python itself" if module.partition(".")[0] in sys.stdlib_module_names else None
