"""Environments that are stepped in one call: the base class, and Gymnasium's vector environments."""

from __future__ import annotations

import abc
import traceback
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.environments.gymnasium_interface import (
    InterfaceError,
    call_problem,
    check_signatures,
    flags,
    numbers,
    reset_result,
    rows_of,
    step_result,
)
from distpolicy.errors import ConfigError, EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, pack_leaves, paths
from workers.environments.actions import ActionRows
from workers.environments.atari import channels_last_space
from workers.environments.base import Environment, first_steps, following_step_types
from workers.environments.deadline import close_deadline
from workers.environments.episode_info import vector_info_numbers
from workers.environments.fault_log import in_one_line, is_fault
from workers.environments.process_state import close_quietly


class BatchedEnvironment(Environment):
    """Steps all its environments in one call. One whose episode has ended is reset in the next step.

    It cannot tell which environment failed, so a failure is an error, and no environment is replaced.

    Args:
        name: The environment's id, for messages.
        num_slots: B, the number of env slots.
        observation_space: The observation space of one environment, before the channels are moved.
        action_space: The action space of one environment.
        channels_last: Whether to turn images ``[C, H, W]`` into ``[H, W, C]``.

    Raises:
        SpecMismatchError: If a space is not supported.
    """

    def __init__(
        self, name: str, num_slots: int, observation_space: gym.Space, action_space: gym.Space, channels_last: bool
    ) -> None:
        space = channels_last_space(observation_space) if channels_last else observation_space
        super().__init__(name, num_slots, space, action_space)
        self._channels_last = channels_last
        self._dtypes = [spec.dtype for spec in flatten(self.time_step_spec.observation)]
        self._actions = ActionRows(action_space)
        self._ended = np.zeros(num_slots, np.bool_)

    def reset(self, seeds: Sequence[int]) -> TimeStep:
        try:
            result = self._reset_all(seeds)
        except BaseException as error:
            if not is_fault(error):
                raise
            raise self._crashed(error, "reset") from error
        self._ended[:] = False
        try:
            observation = self._arranged(reset_result(result)[0])
        except InterfaceError as error:
            raise self._mismatch(error) from error
        return first_steps(observation, self.num_slots)

    def step(self, action: Any) -> TimeStep:
        try:
            result = self._step_all(self._actions.clipped(action))
        except BaseException as error:
            if not is_fault(error):
                raise
            raise self._crashed(error, "step") from error
        num_slots = self.num_slots
        try:
            observation, reward, terminated, truncated, info = step_result(result)
            reward = numbers(reward, num_slots, "reward")
            terminated = flags(terminated, num_slots, "terminated")
            ended = terminated | flags(truncated, num_slots, "truncated")
            observation = self._arranged(observation)
            before = self._ended
            if before.any():
                self._check_resets(ended & before)
                # Some forms return the last reward once more. It belongs to no step. (The array may be the form's own.)
                reward = np.where(before, np.float32(0.0), reward)
        except InterfaceError as error:
            raise self._mismatch(error) from error
        self._ended = ended
        self._ended_infos = {}
        if info:
            rows = np.flatnonzero(ended & ~before).tolist()
            self._ended_infos = {row: vector_info_numbers(info, row, self.info_metrics) for row in rows}
        discount = (~terminated).astype(np.float32)
        return TimeStep(following_step_types(before, ended), reward, discount, observation)

    @abc.abstractmethod
    def _reset_all(self, seeds: Sequence[int]) -> Any:
        """Resets all environments and returns what Gymnasium's vectorised ``reset`` returns."""

    @abc.abstractmethod
    def _step_all(self, action: Any) -> Any:
        """Steps all environments and returns what Gymnasium's vectorised ``step`` returns."""

    @property
    @abc.abstractmethod
    def _stepped(self) -> Any:
        """What ``reset`` and ``step`` are called on."""

    def _check_resets(self, ended: np.ndarray) -> None:
        """Raises InterfaceError if an environment ends an episode in the step that begins it: it never plays."""
        if ended.any():
            raise InterfaceError(
                "returned terminated or truncated in the step that resets it; both are False there, as in "
                "AutoresetMode.NEXT_STEP",
                int(np.argmax(ended)),
            )

    def _arranged(self, observation: Any) -> Any:
        """Returns a batch's observation as arrays of its spaces' dtypes, as far as they have its structure."""
        if self._channels_last:
            observation = np.ascontiguousarray(np.moveaxis(observation, 1, -1))
        if type(observation) is np.ndarray and [observation.dtype] == self._dtypes:
            return observation
        if isinstance(observation, dict | tuple):
            observation = map_structure(np.asarray, observation)
        elif not isinstance(observation, np.ndarray):
            return observation
        if [leaf.dtype for leaf in flatten(observation)] == self._dtypes:
            return observation
        specs = self.time_step_spec.observation
        if paths(observation) != (found := paths(specs)):
            return observation
        leaves = [
            rows_of(leaf, spec.dtype, spec.shape, f"observation{path}")
            for leaf, spec, path in zip(flatten(observation), flatten(specs), found, strict=True)
        ]
        return pack_leaves(specs, leaves)

    def _mismatch(self, error: InterfaceError) -> EnvironmentCrashedError:
        return EnvironmentCrashedError(f"env {self.name} {error}", slot=error.row)

    def _crashed(self, error: BaseException, call: str) -> EnvironmentCrashedError:
        problem = call_problem(self._stepped, call, error)
        if problem is not None:
            return self._mismatch(problem)
        text = "".join(traceback.format_exception(error))
        return EnvironmentCrashedError(f"env {self.name} {in_one_line(error, call)}", traceback=text)


class VectorEnvironment(BatchedEnvironment):
    """Steps a Gymnasium vector environment.

    Args:
        env: A Gymnasium vector environment whose autoreset mode is NEXT_STEP.
        name: The environment's id, for messages.
        seed_each_slot: Whether ``reset`` takes an array of seeds. If False, the environments share one generator,
            which takes the first seed.
        channels_last: Whether to turn images ``[C, H, W]`` into ``[H, W, C]``.

    Raises:
        ConfigError: If the autoreset mode is not NEXT_STEP. In SAME_STEP mode an environment begins its next episode
            in the step that ends the last one, so it cannot wait at FIRST while the others step. Also if ``reset`` or
            ``step`` does not take Gymnasium's arguments.
        SpecMismatchError: If a space is not supported.
    """

    def __init__(
        self, env: gym.vector.VectorEnv, name: str, seed_each_slot: bool = False, channels_last: bool = False
    ) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != gym.vector.AutoresetMode.NEXT_STEP:
            raise ConfigError(
                f"the vectorised form of env {name} resets by {mode}; only AutoresetMode.NEXT_STEP is supported: make "
                "it reset in the step after an episode's last one, or use --vectorization sync"
            )
        check_signatures(env, name)
        super().__init__(name, int(env.num_envs), env.single_observation_space, env.single_action_space, channels_last)
        self._env = env
        self._seed_each_slot = seed_each_slot

    def close(self) -> None:
        with close_deadline(self.name, self.step_timeout_s):
            close_quietly(self._env)

    @property
    def _stepped(self) -> Any:
        return self._env

    def _reset_all(self, seeds: Sequence[int]) -> Any:
        return self._env.reset(seed=np.array(seeds, np.int64) if self._seed_each_slot else int(seeds[0]))

    def _step_all(self, action: Any) -> Any:
        return self._env.step(action)
