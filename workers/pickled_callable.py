"""PickledCallable: a class or function of the caller's that is sent to workers as bytes."""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from distpolicy.errors import ConfigError
from distpolicy.utils.error_text import one_line


@dataclass(frozen=True)
class PickledCallable:
    """A class or function that makes an environment or an agent, pickled.

    If its module is not installed, such as a script or a notebook, the pickle holds the code, since workers cannot
    import it. An installed module is imported by its name.

    Attributes:
        name: ``module:qualname`` of the class or function.
        data: The pickle.
    """

    name: str
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, make: Callable[..., Any], kind: str, result: str) -> PickledCallable:
        """Pickles a class or function.

        Args:
            make: The class or function.
            kind: Its purpose, for messages: ``env`` or ``agent``.
            result: The type that it returns, for messages.

        Raises:
            ConfigError: If it cannot be called or pickled.
        """
        if not callable(make):
            raise ConfigError(f"{kind} must be a class or function that returns {result}, but is {make!r}")
        named = make
        while isinstance(named, functools.partial):
            named = named.func
        # Other callable instances have no name of their own.
        qualname = getattr(named, "__qualname__", type(named).__qualname__)
        name = f"{named.__module__}:{qualname}"
        try:
            return cls(name, _dumps(make, named.__module__))
        except Exception as error:  # Pickling an object that it refers to may raise anything.
            reason = one_line(error)
            raise ConfigError(f"{kind} {name} cannot be sent to workers: {type(error).__name__}: {reason}") from error

    def load(self) -> Callable[..., Any]:
        """Returns the class or function."""
        return cloudpickle.loads(self.data)


def _dumps(make: Callable[..., Any], module_name: str) -> bytes:
    module = sys.modules.get(module_name)
    if module is None or module.__name__ == "__main__" or _is_installed(module):
        return cloudpickle.dumps(make)
    try:
        with _by_value(module):
            return cloudpickle.dumps(make)
    except (
        Exception
    ):  # The module may hold objects that cannot be pickled. Workers on this machine may still import it.
        return cloudpickle.dumps(make)


@contextmanager
def _by_value(module: ModuleType) -> Iterator[None]:
    known: Any = cloudpickle.list_registry_pickle_by_value()
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        if module.__name__ not in known:
            cloudpickle.unregister_pickle_by_value(module)


def _is_installed(module: ModuleType) -> bool:
    """Returns True if a module is part of Python or of an installed package."""
    file = getattr(module, "__file__", None)
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return file is None or any(Path(file).resolve().is_relative_to(Path(folder).resolve()) for folder in folders)
