"""Imports and checks of classes and functions that settings name as ``module:name``."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from types import ModuleType
from typing import Any

# The environment variable of the folder in which named modules are looked for after the installed ones. The command
# sets it, and every process that it starts has it.
FOLDER_VARIABLE = "DISTPOLICY_MODULE_FOLDER"


def folder_variables() -> dict[str, str]:
    """Returns the environment variables by which another process looks for named modules where this one does."""
    return {FOLDER_VARIABLE: os.environ[FOLDER_VARIABLE]} if FOLDER_VARIABLE in os.environ else {}


def import_named(module: str, folder: str | None = None) -> ModuleType:
    """Imports a module that a setting names: an installed one, or else one in a folder.

    The folder comes to the end of the search path, and only if the module is not installed. So nothing there hides an
    installed module, or stands for a package that an installed module lacks, as anybody's file in ``/tmp`` could.

    Args:
        module: The name, such as ``package.module``.
        folder: The folder; None for the one of :data:`FOLDER_VARIABLE`, if it is set.

    Raises:
        ImportError: If the module is not there or cannot be imported.
    """
    folder = os.environ.get(FOLDER_VARIABLE) if folder is None else folder
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if folder is None or folder in sys.path or error.name != module.partition(".")[0]:
            raise
    sys.path.append(folder)
    return importlib.import_module(module)


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
