"""PickledCallable: a class or function of the caller's that travels to workers as bytes."""

from __future__ import annotations

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


@dataclass(frozen=True)
class PickledCallable:
    """A class or function that makes an environment or an agent, pickled.

    The code of a module that is not installed, such as a script or a notebook, travels too, since workers cannot import
    it. An installed module is imported by its name.

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
            kind: What it is for, in messages: ``env`` or ``agent``.
            result: What it returns, in messages.

        Raises:
            ConfigError: If it cannot be called or pickled.
        """
        if not callable(make):
            raise ConfigError(f"{kind} must be a class or function that returns {result}, but is {make!r}")
        # Instances that are called, such as a functools.partial, have no name of their own.
        qualname = getattr(make, "__qualname__", type(make).__qualname__)
        name = f"{make.__module__}:{qualname}"
        try:
            return cls(name, _dumps(make))
        except Exception as error:  # What it refers to may raise anything.
            reason = " ".join(str(error).split())
            raise ConfigError(f"{kind} {name} cannot be sent to workers: {type(error).__name__}: {reason}") from error

    def load(self) -> Callable[..., Any]:
        """Returns the class or function."""
        return cloudpickle.loads(self.data)


def _dumps(make: Callable[..., Any]) -> bytes:
    module = sys.modules.get(make.__module__)
    if module is None or module.__name__ == "__main__" or _is_installed(module):
        return cloudpickle.dumps(make)
    try:
        with _by_value(module):
            return cloudpickle.dumps(make)
    except Exception:  # A module may hold what cannot be pickled; workers on this machine may still import it.
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
    """Returns True if a module belongs to Python or to a package that was installed into it."""
    file = getattr(module, "__file__", None)
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return file is None or any(Path(file).resolve().is_relative_to(Path(folder).resolve()) for folder in folders)
