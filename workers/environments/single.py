"""SingleEnvironmentMaker: one Gymnasium environment from an id or a factory, with its wrappers."""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeAlias

import gymnasium as gym

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.utils.error_text import one_line
from distpolicy.utils.files.bounded_files import parse_json
from distpolicy.utils.module_names import why_no_module_name
from distpolicy.utils.named_code import import_named, why_unfit
from workers.environments.atari import AtariConfig, import_atari, is_atari, wrap_atari
from workers.environments.fault_log import is_fault
from workers.environments.process_state import signal_handlers_kept

Target: TypeAlias = "gym.envs.registration.EnvSpec | Callable[..., gym.Env]"


@dataclass(frozen=True)
class WrapperConfig:
    """A wrapper by its name.

    Attributes:
        name: ``package.module.Class`` or ``package.module:Class``.
        kwargs: Its arguments after the environment: numbers, strings, and lists and dicts of them.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> WrapperConfig:
        """Parses a wrapper of the command line: its name, followed by its arguments as a JSON object, if any.

        Raises:
            ConfigError: If the text after the name is not a JSON object.
        """
        name, brace, rest = text.partition("{")
        try:
            kwargs = parse_json(brace + rest) if brace else {}
        except json.JSONDecodeError as error:
            raise ConfigError(
                f'wrapper {name}: the arguments are not a JSON object ({error}); write module.Class{{"argument": 1}}'
            ) from error
        except ValueError as error:
            raise ConfigError(f"wrapper {name}: the arguments: {one_line(error)}") from error
        return WrapperConfig(name.strip(), kwargs)

    def load(self) -> type:
        """Returns the wrapper's class.

        Raises:
            ConfigError: If the name is unknown, or cannot be a wrapper.
        """
        module, _, attribute = self.name.rpartition(":" if ":" in self.name else ".")
        if not module:
            raise ConfigError(f"unknown wrapper {self.name!r}: write package.module.Class")
        try:
            wrapper = getattr(_import(f"wrapper {self.name}", module, attribute), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"unknown wrapper {self.name!r}: {error}; write package.module.Class") from error
        if reason := why_unfit(wrapper, (gym.Env, gym.vector.VectorEnv)):
            raise ConfigError(f"wrapper {self.name!r} {reason}")
        return wrapper


def _import(what: str, module: str, name: str) -> ModuleType:
    """Returns the module in which a setting names something.

    Args:
        what: The setting and its value, for messages.
        module: The module's name.
        name: What is looked for in it.

    Raises:
        ConfigError: If a module cannot have this name, or raises something.
        ImportError: If there is no such module, or it needs one that is not there.
    """
    if reason := why_no_module_name(module, name):
        raise ConfigError(f"{what}: {reason}")
    try:
        return import_named(module)
    except (ImportError, DistPolicyError):
        raise
    except BaseException as error:  # A module may raise anything.
        if not is_fault(error):
            raise
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ConfigError(f"{what}: the module {module} cannot be imported: {reason}") from error


def _check_is_env(made: Any) -> None:
    if not isinstance(made, gym.Env):
        raise ConfigError(
            f"expected a gymnasium.Env from what the env names, got a {type(made).__name__}: {made!r:.80}"
        )


def resolve_target(env_id: str) -> Target:
    """Returns the registered spec of an id, or the callable that ``module:factory`` names.

    Args:
        env_id: A registered id, ``module:id`` to import the module that registers it first, or ``module:factory``.

    Raises:
        gymnasium.error.Error: If the environment is unknown.
        ImportError: If the module cannot be imported.
        ConfigError: If the environment was defined in a script: it cannot be imported by its name. Or if the module
            raises something, or the name stands for something that cannot make an environment.
    """
    module_name, _, name = env_id.rpartition(":")
    if module_name == "__main__":
        raise ConfigError(f"env {env_id} was defined in a script: give its class, as in TrainingRun(..., env={name})")
    module = _import(f"env {env_id}", module_name, name) if module_name else None
    if is_atari(name):
        import_atari()
    try:
        return gym.spec(name)
    except gym.error.Error:
        if module is None:
            raise
        try:
            target = operator.attrgetter(name)(module)
        except AttributeError:
            target = None
        if callable(target):
            if reason := why_unfit(target, (gym.Env,)):
                raise ConfigError(f"env {env_id} {reason}: name an environment, or a function that makes one") from None
            return target
        raise


@dataclass(frozen=True)
class SingleEnvironmentMaker:
    """A factory of one slot's environment, in this process or another one.

    Attributes:
        target: The spec or callable that makes it.
        kwargs: Its arguments.
        wrappers: Wrappers around it, the first one innermost.
        atari: Preparation of the frames of an Atari game; None for the game's own frames.
    """

    target: Target
    kwargs: dict[str, Any]
    wrappers: tuple[WrapperConfig, ...]
    atari: AtariConfig | None

    def __call__(self) -> gym.Env:
        """Makes a new environment.

        Raises:
            Exception: Any error of its constructor.
            ConfigError: If the result is not a Gymnasium environment, or a wrapper cannot be made.
        """
        with signal_handlers_kept():
            env = self._bare()
            for wrapper in self.wrappers:
                _check_is_env(env)
                env = _wrapped(env, wrapper)
        _check_is_env(env)
        return env

    def _bare(self) -> gym.Env:
        kwargs = own_arguments(self.kwargs)
        if not isinstance(self.target, gym.envs.registration.EnvSpec):
            return _with_own_arguments(self.target)(**kwargs)
        spec = copy.copy(self.target)
        # The checks of Gymnasium's wrappers are not needed: the stream resets before it steps, and checks the results.
        spec.order_enforce = False
        spec.disable_env_checker = True
        if self.atari is None or not is_atari(spec.id):
            return gym.make(spec, **kwargs)
        env = gym.make(spec, **{**kwargs, "frameskip": 1})
        return wrap_atari(env, self.atari)

    def checked_wrappers(self, vectorized: bool) -> list[tuple[type, dict[str, Any]]]:
        """Returns the wrappers' classes and arguments.

        Args:
            vectorized: Whether the wrappers are for a vectorised environment.

        Raises:
            ConfigError: If a wrapper is of the other kind.
        """
        loaded = [(wrapper.load(), own_arguments(wrapper.kwargs)) for wrapper in self.wrappers]
        for wrapper, (kind, _) in zip(self.wrappers, loaded, strict=True):
            is_vector = isinstance(kind, type) and issubclass(kind, gym.vector.VectorWrapper)
            if is_vector != vectorized:
                change = "sync or async" if vectorized else "vector_entry_point"
                what = "single" if vectorized else "vectorised"
                raise ConfigError(f"wrapper {wrapper.name} is for {what} environments; use --vectorization {change}")
        return loaded


def own_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments whose dicts and lists are copies, at any depth.

    An environment may change them, as by ``config.pop("size", 8)``. The next one must get what was given, too.
    """
    return {name: _own(value) for name, value in kwargs.items()}


def _with_own_arguments(target: Callable[..., gym.Env]) -> Callable[..., gym.Env]:
    """Returns a callable whose arguments are copies, if it is a partial, which holds some."""
    if type(target) is not functools.partial:
        return target
    return functools.partial(target.func, *map(_own, target.args), **own_arguments(target.keywords))


def _own(value: Any) -> Any:
    # Subclasses and arrays stay as they are: a copy of a large map for each environment would take too much memory.
    if type(value) is dict:
        return own_arguments(value)
    return [_own(item) for item in value] if type(value) is list else value


def _wrapped(env: gym.Env, wrapper: WrapperConfig) -> gym.Env:
    """Returns an environment with a wrapper around it. What the wrapper raises names it."""
    try:
        return wrapper.load()(env, **own_arguments(wrapper.kwargs))
    except DistPolicyError:
        raise
    except BaseException as error:  # The constructor of a wrapper may raise anything.
        if not is_fault(error):
            raise
        raise ConfigError(
            f"wrapper {wrapper.name} cannot be made with the arguments {wrapper.kwargs}: {type(error).__name__}: "
            f"{one_line(error)}"
        ) from error
