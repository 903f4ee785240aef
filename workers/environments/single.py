"""SingleEnvironmentMaker: one Gymnasium environment from an id or a factory, with its wrappers."""

from __future__ import annotations

import copy
import importlib
import json
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import gymnasium as gym

from distpolicy.errors import ConfigError
from workers.environments.atari import AtariConfig, import_atari, is_atari, wrap_atari

Target: TypeAlias = "gym.envs.registration.EnvSpec | Callable[..., gym.Env]"


@dataclass(frozen=True)
class WrapperConfig:
    """A wrapper by its name.

    Attributes:
        name: ``package.module.Class`` or ``package.module:Class``.
        kwargs: Its arguments after the environment; numbers, strings, lists and dicts of them.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> WrapperConfig:
        """A wrapper as on the command line: its name, and its arguments as a JSON object right after it.

        Raises:
            ConfigError: If what follows the name is no JSON object.
        """
        name, brace, rest = text.partition("{")
        try:
            kwargs = json.loads(brace + rest) if brace else {}
        except json.JSONDecodeError as error:
            raise ConfigError(
                f'wrapper {text!r}: the arguments are no JSON object ({error}); write module.Class{{"argument": 1}}'
            ) from error
        return WrapperConfig(name.strip(), kwargs)

    def load(self) -> type:
        """The wrapper's class.

        Raises:
            ConfigError: If there is none of that name.
        """
        module, _, attribute = self.name.rpartition(":" if ":" in self.name else ".")
        try:
            wrapper = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f"unknown wrapper {self.name!r}: {error}; write package.module.Class") from error
        if not callable(wrapper):
            raise ConfigError(f"wrapper {self.name!r} is no class")
        return wrapper


def resolve_target(env_id: str) -> Target:
    """What makes the environment: the registered spec of an id, or the callable that ``module:factory`` names.

    Args:
        env_id: A registered id, ``module:id`` to import the module that registers it first, or ``module:factory``.

    Raises:
        gymnasium.error.Error: If there is no such environment.
        ImportError: If the module cannot be imported.
        ConfigError: If the environment was defined in a script, of which only the name is known.
    """
    module_name, _, name = env_id.rpartition(":")
    if module_name == "__main__":
        raise ConfigError(f"env {env_id} was defined in a script: give its class, as in TrainingRun(..., env={name})")
    module = importlib.import_module(module_name) if module_name else None
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
            return target
        raise


@dataclass(frozen=True)
class SingleEnvironmentMaker:
    """Makes one slot's environment, in this process or another one.

    Attributes:
        target: What makes it.
        kwargs: Its arguments.
        wrappers: Around it, the first innermost.
        atari: How the frames of an Atari game are prepared; None for the game's own.
    """

    target: Target
    kwargs: dict[str, Any]
    wrappers: tuple[WrapperConfig, ...]
    atari: AtariConfig | None

    def __call__(self) -> gym.Env:
        """A new environment.

        Raises:
            Exception: Whatever its constructor raises.
            TypeError: If something else than a Gymnasium environment comes out.
        """
        env = self._bare()
        for wrapper in self.wrappers:
            env = wrapper.load()(env, **wrapper.kwargs)
        if not isinstance(env, gym.Env):
            raise TypeError(f"expected a gymnasium.Env, got a {type(env).__name__}")
        return env

    def _bare(self) -> gym.Env:
        if not isinstance(self.target, gym.envs.registration.EnvSpec):
            return self.target(**self.kwargs)
        spec = copy.copy(self.target)
        # The stream resets first and steps after, and checks what comes back, itself.
        spec.order_enforce = False
        spec.disable_env_checker = True
        if self.atari is None or not is_atari(spec.id):
            return gym.make(spec, **self.kwargs)
        env = gym.make(spec, **{**self.kwargs, "frameskip": 1})
        return wrap_atari(env, self.atari)

    def checked_wrappers(self, vectorized: bool) -> list[tuple[type, dict[str, Any]]]:
        """The wrappers' classes and arguments.

        Args:
            vectorized: Whether they are to go around a vectorised environment.

        Raises:
            ConfigError: If one is of the other kind.
        """
        loaded = [(wrapper.load(), wrapper.kwargs) for wrapper in self.wrappers]
        for wrapper, (kind, _) in zip(self.wrappers, loaded, strict=True):
            is_vector = isinstance(kind, type) and issubclass(kind, gym.vector.VectorWrapper)
            if is_vector != vectorized:
                change = "sync or async" if vectorized else "vector_entry_point"
                what = "single" if vectorized else "vectorised"
                raise ConfigError(f"wrapper {wrapper.name} is for {what} environments; use --vectorization {change}")
        return loaded
