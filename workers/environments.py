"""A Gymnasium vector environment as a stream of time steps."""

from __future__ import annotations

import dataclasses
import importlib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from distpolicy.errors import ConfigError, EnvironmentCrashedError, SpecMismatchError
from distpolicy.specs.gymnasium_spaces import spec_from_space
from distpolicy.trajectories.time_step import StepType, TimeStep, time_step_spec

Vectorization = Literal["auto", "sync", "async", "vector_entry_point"]


@dataclass(frozen=True)
class EnvironmentFactory:
    """Makes vector environments of one kind; small enough to travel to every worker.

    Attributes:
        env_id: A registered Gymnasium id, or ``module:id`` to import the module that registers it first.
        vectorization: How slots are stepped: ``sync`` one after the other in this process, ``async`` each in
            a process of its own, ``vector_entry_point`` by the environment's own vectorised form; ``auto``
            takes that one if there is one, and else ``sync``.
        kwargs: Arguments of the environment.
    """

    env_id: str
    vectorization: Vectorization = "auto"
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __call__(self, num_slots: int) -> VectorEnvironment:
        """A vector environment of ``num_slots`` slots.

        Raises:
            ConfigError: If there is no such environment, a package that it needs is not installed, or its
                vectorised form is of a kind that is not supported.
        """
        mode = self.resolved_vectorization()
        # The observations are copied into the rollout anyway.
        vector_kwargs = {"copy": False} if mode == "sync" else {}
        try:
            env = gym.make_vec(
                self.env_id,
                num_envs=num_slots,
                vectorization_mode=gym.VectorizeMode(mode),
                vector_kwargs=vector_kwargs,
                **self.kwargs,
            )
        except (gym.error.Error, ImportError) as error:
            raise ConfigError(self._explain(error)) from error
        except TypeError as error:
            raise ConfigError(f"env {self.env_id} does not take the arguments {self.kwargs}: {error}") from error
        except Exception as error:  # An environment's constructor may raise anything.
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ConfigError(f"env {self.env_id} cannot be made with the arguments {self.kwargs}: {reason}") from error
        return VectorEnvironment(env, self.env_id)

    def resolved_vectorization(self) -> str:
        """The vectorization that ``auto`` stands for here.

        Raises:
            ConfigError: If there is no such environment.
        """
        try:
            spec = _spec(self.env_id)
        except (gym.error.Error, ImportError) as error:
            raise ConfigError(self._explain(error)) from error
        if self.vectorization == "auto":
            return "sync" if spec.vector_entry_point is None else "vector_entry_point"
        if self.vectorization == "vector_entry_point" and spec.vector_entry_point is None:
            raise ConfigError(f"env {self.env_id} has no vectorised form; use --vectorization sync or async")
        return self.vectorization

    def with_seed_for_each_slot(self) -> EnvironmentFactory:
        """The same without the environment's own vectorised form, whose slots share one generator."""
        if self.resolved_vectorization() == "vector_entry_point" and _spec(self.env_id).entry_point is not None:
            return dataclasses.replace(self, vectorization="sync")
        return self

    def _explain(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        if isinstance(error, gym.error.DependencyNotInstalled | ImportError):
            return f"env {self.env_id} needs a package that is not installed: {text}"
        if self.env_id.startswith("ALE/"):
            return f"env {self.env_id} needs the Atari package: pip install 'distpolicy[atari]'"
        return f"unknown env {self.env_id!r}: {text}"


def _spec(env_id: str) -> gym.envs.registration.EnvSpec:
    """``gym.spec``, also of ``module:id``, which ``gym.make_vec`` takes."""
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    return gym.spec(name)


class VectorEnvironment:
    """B environment slots, stepped together: FIRST, MID…, LAST, FIRST again.

    Observations may be overwritten by the next step, as the environment likes; who keeps them copies them.

    Args:
        env: A Gymnasium vector environment that resets a slot in the step after its episode's last.
        name: Its name, for messages.

    Raises:
        ConfigError: If the environment resets in another way.
        SpecMismatchError: If a space is not supported.
    """

    def __init__(self, env: gym.vector.VectorEnv, name: str) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != gym.vector.AutoresetMode.NEXT_STEP:
            raise ConfigError(
                f"env {name} resets by {mode}; only AutoresetMode.NEXT_STEP is supported, in which the step after an "
                "episode's last one resets"
            )
        self._env = env
        self._name = name
        self._action_spec = spec_from_space(env.single_action_space, "action")
        self._time_step_spec = time_step_spec(spec_from_space(env.single_observation_space, "observation"))
        self._bounds: tuple[np.ndarray, np.ndarray] | None = None
        if isinstance(env.single_action_space, gym.spaces.Box):
            self._bounds = (env.single_action_space.low, env.single_action_space.high)
        self._ended = np.zeros(env.num_envs, np.bool_)

    @property
    def name(self) -> str:
        """The environment's id."""
        return self._name

    @property
    def num_slots(self) -> int:
        """B."""
        return int(self._env.num_envs)

    @property
    def time_step_spec(self) -> TimeStep:
        """Array specs of one slot's time step."""
        return self._time_step_spec

    @property
    def action_spec(self) -> Any:
        """Array specs of one slot's action."""
        return self._action_spec

    def reset(self, seeds: Sequence[int]) -> TimeStep:
        """Begins an episode in every slot.

        Args:
            seeds: One for each slot. An environment of its own vectorised form has one generator for all its
                slots, and takes the first.

        Raises:
            EnvironmentCrashedError: If the environment raises.
        """
        own_form = not isinstance(self._env.unwrapped, gym.vector.SyncVectorEnv | gym.vector.AsyncVectorEnv)
        try:
            observation, _ = self._env.reset(seed=seeds[0] if own_form else list(seeds))
        except Exception as error:
            raise self._crashed(error, "reset") from error
        self._ended[:] = False
        ones = np.ones(self.num_slots, np.float32)
        return TimeStep(np.zeros(self.num_slots, np.int32), np.zeros(self.num_slots, np.float32), ones, observation)

    def step(self, action: np.ndarray) -> TimeStep:
        """Steps every slot; one that is at LAST is reset instead, and its action ignored.

        Args:
            action: ``[B, *shape]``; continuous ones are clipped to the environment's bounds.

        Raises:
            EnvironmentCrashedError: If the environment raises; tells the row if it can.
        """
        if self._bounds is not None:
            action = np.clip(action, *self._bounds)
        try:
            observation, reward, terminated, truncated, _ = self._env.step(action)
        except Exception as error:
            raise self._crashed(error, "step") from error
        ended = np.logical_or(terminated, truncated)
        step_type = np.where(self._ended, StepType.FIRST, np.where(ended, StepType.LAST, StepType.MID))
        self._ended = ended
        discount = np.logical_not(terminated).astype(np.float32)
        return TimeStep(step_type, np.asarray(reward, np.float32), discount, observation)

    def check_finite(self, time_step: TimeStep) -> None:
        """Refuses values that nothing can be learned from or reported of.

        Raises:
            EnvironmentCrashedError: If an observation or a reward is NaN or infinite; tells the row.
        """
        for name, array in (("observation", time_step.observation), ("reward", time_step.reward)):
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0][0])
                raise EnvironmentCrashedError(f"env {self._name} returned NaN or infinity as {name}", slot=row)

    def close(self) -> None:
        """Frees the environment; may be called twice."""
        self._env.close()

    def _crashed(self, error: Exception, call: str) -> EnvironmentCrashedError:
        row = _failing_row(error)
        text = "".join(traceback.format_exception(error))
        reason = " ".join(str(error).split())
        return EnvironmentCrashedError(
            f"env {self._name} raised {type(error).__name__} in {call}: {reason}", slot=row, traceback=text
        )


def _failing_row(error: Exception) -> int | None:
    """Which environment of a SyncVectorEnv raised: its loops over rows know, and nothing else does."""
    frame = error.__traceback__
    while frame is not None:
        owner = frame.tb_frame.f_locals.get("self")
        row = frame.tb_frame.f_locals.get("i")
        if isinstance(owner, gym.vector.SyncVectorEnv) and isinstance(row, int):
            return row
        frame = frame.tb_next
    return None


def check_supported(environment: VectorEnvironment) -> None:
    """Refuses what the networks cannot take yet.

    Raises:
        ConfigError: If the observation is not one Box, or the action neither a scalar Discrete nor a Box.
    """
    observation_space = environment._env.single_observation_space
    action_space = environment._env.single_action_space
    if not isinstance(observation_space, gym.spaces.Box):
        raise ConfigError(
            f"env {environment.name} has observations {observation_space}; only Box observations are supported: "
            "flatten them with gymnasium.wrappers.FlattenObservation"
        )
    if not isinstance(action_space, gym.spaces.Discrete | gym.spaces.Box):
        raise ConfigError(
            f"env {environment.name} has actions {action_space}; only Discrete and Box actions are supported"
        )


def probe(factory: EnvironmentFactory) -> tuple[TimeStep, Any]:
    """The time-step spec and action spec of an environment, checked before anything is started.

    Raises:
        ConfigError: If the environment cannot be made or its spaces are not supported.
    """
    try:
        environment = factory(1)
    except SpecMismatchError as error:
        raise ConfigError(f"env {factory.env_id}: {error}") from error
    try:
        check_supported(environment)
        return environment.time_step_spec, environment.action_spec
    finally:
        environment.close()
