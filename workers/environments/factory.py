"""EnvironmentFactory: makes environments of one kind, vectorised in one of several ways."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast

import gymnasium as gym

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.utils.error_text import one_line
from distpolicy.utils.module_names import missing_module
from distpolicy.utils.suggestions import most_similar, suggestion
from distpolicy.utils.time_limits import time_limit
from workers.environments.atari import AtariConfig, envpool_arguments, is_atari, vector_arguments
from workers.environments.base import Environment
from workers.environments.batched import VectorEnvironment
from workers.environments.deadline import constructor_deadline
from workers.environments.envpool import EnvPoolEnvironment
from workers.environments.fault_log import is_fault
from workers.environments.process_state import close_quietly, signal_handlers_kept
from workers.environments.processes.environment import ProcessEnvironment
from workers.environments.single import (
    SingleEnvironmentMaker,
    Target,
    WrapperConfig,
    own_arguments,
    resolve_target,
)
from workers.environments.sync import SyncEnvironment
from workers.pickled_callable import PickledCallable
from workers.restart_budget import RestartBudgetConfig

Vectorization = Literal["auto", "sync", "async", "vector_entry_point", "envpool"]


@dataclass(frozen=True)
class EnvironmentFactory:
    """A factory of environments of one kind; small enough to be sent to every worker.

    Attributes:
        env_id: A registered Gymnasium id, ``module:id`` to import the module that registers it first, or
            ``module:factory`` for a callable that returns an environment.
        vectorization: The way in which slots are stepped: ``sync`` one after the other in this process, ``async`` each
            in its own process, ``vector_entry_point`` by the environment's own vectorised form, ``envpool`` by
            EnvPool, which has its own environments of the same names. ``auto`` takes the vectorised form if there is
            one and the wrappers allow it, else ``sync``.
        kwargs: Arguments of the environment.
        wrappers: Wrappers around it, the first one innermost; a vectorised form takes vector wrappers. A string is read
            by :meth:`workers.environments.single.WrapperConfig.parse`, a mapping has ``name`` and ``kwargs``.
        atari: Preparation of the frames of Atari games (ids ``ALE/…``); None for the game's own frames.
        restarts: The restart budget of a slot (``sync``, ``async``).
        step_timeout_s: Seconds after which a step or reset counts as hanging. With ``async`` this is the time of one
            slot, else the time of all slots of a collector that looks for hangs.
        num_threads: Threads of EnvPool's and ale-py's vectorised forms.
        pickled: A class or function that makes an environment, instead of what ``env_id`` names.
        info_metrics: Names of the numbers in an episode's last ``info`` to report; None for all.
        max_episode_steps: Number of steps after which an episode is truncated, if it has not ended before; None for no
            limit but the environment's own.
    """

    env_id: str
    vectorization: Vectorization = "auto"
    kwargs: dict[str, Any] = field(default_factory=dict)
    wrappers: tuple[WrapperConfig | str | Mapping[str, Any], ...] = ()
    atari: AtariConfig | None = field(default_factory=AtariConfig)
    restarts: RestartBudgetConfig = field(default_factory=RestartBudgetConfig)
    step_timeout_s: float = 60.0
    num_threads: int = 1
    pickled: PickledCallable | None = None
    info_metrics: tuple[str, ...] | None = None
    max_episode_steps: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "wrappers", tuple(_wrapper_config(item) for item in self.wrappers))
        object.__setattr__(self, "step_timeout_s", time_limit("step_timeout_s", self.step_timeout_s))
        if self.atari not in (None, AtariConfig()) and not is_atari(self._bare_id):
            raise ConfigError(f"atari is for games with an id ALE/..., and not for env {self.env_id}: leave it out")
        if self.num_threads < 1:
            raise ConfigError(f"num_threads must be 1 or more, but is {self.num_threads}")
        if self.max_episode_steps is not None and self.max_episode_steps < 1:
            raise ConfigError(f"max_episode_steps must be 1 or more, but is {self.max_episode_steps}")

    def __call__(self, num_slots: int) -> Environment:
        """Makes an environment of ``num_slots`` slots.

        Raises:
            ConfigError: If the environment is unknown, a package that it needs is not installed, or its vectorised
                form is not supported.
            SpecMismatchError: If a space is not supported.
            EnvironmentCrashedError: If a constructor hangs.
        """
        mode = self.resolved_vectorization()
        try:
            environment = self._make(mode, num_slots)
            environment.info_metrics, environment.step_timeout_s = self.info_metrics, self.step_timeout_s
            return environment
        except DistPolicyError:
            raise
        except (gym.error.Error, ImportError) as error:
            raise ConfigError(self._explain(error)) from error
        except TypeError as error:
            reason = one_line(error)
            if "missing" in reason and "argument" in reason:
                reason += "; give them by --env-kwargs NAME=VALUE"
            raise ConfigError(f"env {self.env_id} does not take the arguments {self.kwargs}: {reason}") from error
        except BaseException as error:  # The constructor of an environment may raise anything.
            if not is_fault(error):
                raise
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise ConfigError(f"env {self.env_id} cannot be made with the arguments {self.kwargs}: {reason}") from error

    def make_single(self) -> gym.Env:
        """Makes one environment with its wrappers, for instance to render episodes.

        Raises:
            Exception: Any error of its constructor.
            EnvironmentCrashedError: If its constructor hangs.
            ConfigError: If the environment is unknown.
        """
        return self._made_in_time(self._single_maker())

    def resolved_vectorization(self) -> str:
        """Returns the vectorization that is used; ``auto`` is replaced.

        Raises:
            ConfigError: If the environment is unknown, or lacks the vectorised form that is asked for.
        """
        return self._resolve()[0]

    def describe(self) -> str:
        """Returns the vectorization and the reason for it, in one line.

        Raises:
            ConfigError: As in :meth:`resolved_vectorization`.
        """
        mode, reason = self._resolve()
        return f"{mode} ({reason})"

    def with_seed_for_each_slot(self) -> EnvironmentFactory:
        """Returns a factory that avoids a vectorised form whose slots share one generator, if there is another form."""
        if self.resolved_vectorization() != "vector_entry_point" or is_atari(self._bare_id):
            return self
        target = self._target()
        if isinstance(target, gym.envs.registration.EnvSpec) and target.entry_point is not None:
            return dataclasses.replace(self, vectorization="sync")
        return self

    def with_callable(self, make: Callable[..., gym.Env]) -> EnvironmentFactory:
        """Returns a factory with a class or function of the caller's that makes the environments.

        Raises:
            ConfigError: If it cannot be called or sent to workers.
        """
        pickled = PickledCallable.of(make, "env", "a gymnasium.Env")
        return dataclasses.replace(self, env_id=pickled.name, pickled=pickled)

    @property
    def _wrapper_configs(self) -> tuple[WrapperConfig, ...]:
        return cast("tuple[WrapperConfig, ...]", self.wrappers)

    @property
    def _bare_id(self) -> str:
        return self.env_id.rpartition(":")[2]

    def _target(self) -> Target:
        try:
            return resolve_target(self.env_id) if self.pickled is None else self.pickled.load()
        except (gym.error.Error, ImportError) as error:
            raise ConfigError(self._explain(error)) from error

    def _single_maker(self) -> SingleEnvironmentMaker:
        wrappers = self._wrapper_configs
        if self.max_episode_steps is not None:
            # The outermost one, so that it counts the steps that a policy takes.
            limit = {"max_episode_steps": self.max_episode_steps}
            wrappers += (WrapperConfig("gymnasium.wrappers.TimeLimit", limit),)
        maker = SingleEnvironmentMaker(self._target(), self.kwargs, wrappers, self.atari)
        maker.checked_wrappers(vectorized=False)
        return maker

    def _resolve(self) -> tuple[str, str]:
        if self.vectorization == "envpool":
            if self.pickled is not None:
                raise ConfigError(f"EnvPool has no env {self.env_id}; use --vectorization sync or async")
            return "envpool", "as asked for"
        target = self._target()
        spec: Any = target if isinstance(target, gym.envs.registration.EnvSpec) else None
        has_vector_form = spec is not None and spec.vector_entry_point is not None
        if self.vectorization != "auto":
            if self.vectorization == "vector_entry_point" and not has_vector_form:
                raise ConfigError(f"env {self.env_id} has no vectorised form; use --vectorization sync or async")
            if self.vectorization == "vector_entry_point" and spec.additional_wrappers:
                raise ConfigError(
                    f"env {self.env_id} is registered with wrappers, which its vectorised form cannot have; use "
                    "--vectorization sync or async"
                )
            if self.vectorization == "vector_entry_point" and not self._takes_step_limit(target):
                raise ConfigError(self._lacks_step_limit(target))
            return self.vectorization, "as asked for"
        if not has_vector_form:
            hint = "async gives each slot a process"
            if spec is not None and importlib.util.find_spec("envpool") is not None:
                hint += ", envpool may have its own version of it"
            return "sync", f"auto: the env has no vectorised form; {hint}"
        if spec.entry_point is None:
            if self.max_episode_steps is not None and not self._takes_step_limit(target):
                raise ConfigError(self._lacks_step_limit(target))
            return "vector_entry_point", "auto: the env has no other form"
        if spec.additional_wrappers:
            return "sync", "auto: the env is registered with wrappers, which its vectorised form cannot have"
        if not self._takes_step_limit(target):
            limit = "the limit of its id" if self.max_episode_steps is None else "the limit that is asked for"
            return "sync", f"auto: the env's vectorised form has no argument max_episode_steps for {limit}"
        if not _resets_in_the_next_step(target):
            return "sync", "auto: the env's vectorised form does not reset in the step after an episode's last one"
        if self.wrappers and not all(_is_vector_wrapper(wrapper) for wrapper in self._wrapper_configs):
            return "sync", "auto: the wrappers are for single environments, and not for the env's vectorised form"
        if is_atari(self._bare_id) and self.atari is None:
            return "sync", "auto: the env's vectorised form cannot leave frames as they are"
        return "vector_entry_point", "auto: the env's own vectorised form is the fastest"

    def _takes_step_limit(self, target: Any) -> bool:
        """Returns False if episodes have a limit of steps, and the env's vectorised form cannot be told the limit."""
        if self.max_episode_steps is None and target.max_episode_steps is None:
            return True
        parameters = inspect.signature(_vector_creator(target)).parameters
        return "max_episode_steps" in parameters or any(
            parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
        )

    def _lacks_step_limit(self, target: Any) -> str:
        has, change = f"has a limit of {target.max_episode_steps} steps", "use --vectorization sync or async"
        if self.max_episode_steps is not None:
            has = f"is asked for a limit of {self.max_episode_steps} steps"
            if target.entry_point is None:
                change = "leave out --max-episode-steps, since it has no other form"
        return f"env {self.env_id} {has}, and its vectorised form has no argument max_episode_steps; {change}"

    def _make(self, mode: str, num_slots: int) -> Environment:
        if mode == "envpool":
            return self._make_envpool(num_slots)
        if mode == "vector_entry_point":
            return self._make_vector(num_slots)
        maker = self._single_maker()
        if mode == "async":
            return ProcessEnvironment(
                maker, self.env_id, num_slots, self.restarts, self.step_timeout_s, self.info_metrics
            )
        return SyncEnvironment(partial(self._made_in_time, maker), self.env_id, num_slots, self.restarts)

    def _made_in_time(self, maker: SingleEnvironmentMaker) -> gym.Env:
        with constructor_deadline(self.env_id, self.step_timeout_s):
            return maker()

    def _make_vector(self, num_slots: int) -> VectorEnvironment:
        target: Any = self._target()
        atari = is_atari(self._bare_id)
        arguments = own_arguments(self.kwargs)
        if atari:
            arguments = {**vector_arguments(self.atari), "num_threads": self.num_threads, **arguments}
        if self.max_episode_steps is not None:
            # It comes before the limit of the id, and must not raise it.
            limits = (self.max_episode_steps, target.max_episode_steps, arguments.get("max_episode_steps"))
            arguments["max_episode_steps"] = min(limit for limit in limits if limit is not None)
        if "autoreset_mode" not in arguments and _takes_autoreset_mode(target):
            arguments["autoreset_mode"] = gym.vector.AutoresetMode.NEXT_STEP
        wrappers = SingleEnvironmentMaker(target, {}, self._wrapper_configs, None).checked_wrappers(vectorized=True)
        with signal_handlers_kept(), constructor_deadline(self.env_id, self.step_timeout_s):
            env = gym.make_vec(target, num_envs=num_slots, vectorization_mode="vector_entry_point", **arguments)
        try:
            if env.num_envs != num_slots:
                raise ConfigError(
                    f"the vectorised form of env {self.env_id} has {env.num_envs} environments, and was asked for "
                    f"{num_slots}; use --vectorization sync or async"
                )
            for wrapper, kwargs in wrappers:
                env = wrapper(env, **kwargs)
            channels_last = atari and self.atari is not None and self.atari.channels_last
            return VectorEnvironment(env, self.env_id, seed_each_slot=atari, channels_last=channels_last)
        except BaseException:
            close_quietly(env)
            raise

    def _make_envpool(self, num_slots: int) -> EnvPoolEnvironment:
        if self.wrappers:
            raise ConfigError("EnvPool takes no wrappers; use --vectorization sync or async with them")
        task_id, kwargs = self._bare_id, dict(self.kwargs)
        if not is_atari(task_id):
            return EnvPoolEnvironment(
                task_id, self.env_id, num_slots, self.num_threads, kwargs, max_episode_steps=self.max_episode_steps
            )
        # As in Gymnasium's ALE ids, unless given.
        sticky_actions = kwargs.pop("repeat_action_probability", 0.25)
        arguments = {**envpool_arguments(self.atari, sticky_actions), **kwargs}
        channels_last = self.atari is not None and self.atari.channels_last
        task_id = task_id.removeprefix("ALE/")
        return EnvPoolEnvironment(
            task_id, self.env_id, num_slots, self.num_threads, arguments, channels_last, self.max_episode_steps
        )

    def _explain(self, error: Exception) -> str:
        text = one_line(error)
        module = self.env_id.rpartition(":")[0]
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            return f"env {self.env_id}: {missing_module(error.name, os.getcwd())}"
        if isinstance(error, gym.error.DependencyNotInstalled | ImportError):
            return f"env {self.env_id} needs a package that is not installed: {text}"
        if is_atari(self._bare_id) and importlib.util.find_spec("ale_py") is None:
            return f"env {self.env_id} needs the Atari package: pip install 'distpolicy[atari]'"
        why = f"{module} has no {self._bare_id}, and registers no environment of this id" if module else text
        return f"unknown env {self.env_id!r}: {why}{suggestion(_most_similar_id(self._bare_id))}"


def _wrapper_config(item: Any) -> WrapperConfig:
    if isinstance(item, WrapperConfig):
        return item
    if isinstance(item, str):
        return WrapperConfig.parse(item)
    if isinstance(item, Mapping) and {"name"} <= set(item) <= {"name", "kwargs"}:
        return WrapperConfig(item["name"], dict(item.get("kwargs", {})))
    raise ConfigError(f"wrapper {item!r}: expected its name, or a mapping of name and kwargs")


def _most_similar_id(env_id: str) -> str | None:
    """Returns the registered id that was meant: the newest version of a name without one, or the most similar id."""
    ids = [known for known in gym.registry if "/" not in known or "/" in env_id]
    versions = [known for known in ids if known.rpartition("-v")[0].lower() == env_id.lower()]
    return versions[-1] if versions else most_similar(env_id, ids)


def _is_vector_wrapper(wrapper: WrapperConfig) -> bool:
    kind = wrapper.load()
    return isinstance(kind, type) and issubclass(kind, gym.vector.VectorWrapper)


def _resets_in_the_next_step(target: Any) -> bool:
    """Returns False if a vectorised form says that it resets in another way, and has no argument for it."""
    creator = _vector_creator(target)
    metadata = getattr(creator, "metadata", None)
    if not isinstance(metadata, Mapping) or _takes_autoreset_mode(target):
        return True
    return metadata.get("autoreset_mode", gym.vector.AutoresetMode.NEXT_STEP) == gym.vector.AutoresetMode.NEXT_STEP


def _vector_creator(target: Any) -> Any:
    entry_point = target.vector_entry_point
    if not isinstance(entry_point, str):
        return entry_point
    try:
        return gym.envs.registration.load_env_creator(entry_point)
    except BaseException as error:  # Its module may raise anything.
        if not is_fault(error):
            raise
        raise ConfigError(
            f"env {target.id} has a vectorised form, {entry_point}, that cannot be imported: {type(error).__name__}: "
            f"{one_line(error)}; install what it needs, or try --vectorization sync or async"
        ) from error


def _takes_autoreset_mode(target: Any) -> bool:
    """Returns True if a vectorised form has an argument for its way to reset; some reset within the step otherwise."""
    return "autoreset_mode" in inspect.signature(_vector_creator(target)).parameters
