"""SyncEnvironment: environments that are stepped one after the other in this process."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.environments.gymnasium_interface import (
    InterfaceError,
    action_space_problem,
    call_problem,
    check_signatures,
    flag,
    numbers,
    reset_result,
    step_result,
)
from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from workers.environments.actions import ActionRows
from workers.environments.base import FIRST, LAST, MID, Environment, first_steps
from workers.environments.deadline import close_deadline
from workers.environments.episode_info import info_numbers
from workers.environments.fault_log import FaultLog, in_one_line, is_fault, is_of_code
from workers.environments.observations import ObservationArrays
from workers.environments.process_state import close_quietly
from workers.restart_budget import RestartBudgetConfig

# The step type of an env slot that rests: above LAST, so that one comparison finds both.
_RESTING = LAST + 1


class SyncEnvironment(Environment):
    """Steps B Gymnasium environments in a loop.

    If an environment raises in ``step``, its episode is cut (see :attr:`Environment.cuts`) and the env slot gets a new
    environment. If it raises in ``reset``, there is no episode to cut, and it is replaced at once. The others go on in
    both cases. An environment that hangs blocks the whole batch: use ``async`` to replace it alone, or let the
    collector's watchdog end the process.

    Args:
        make: Makes one environment.
        name: The environment's id, for messages.
        num_slots: B, the number of env slots.
        restarts: The restart budget of each env slot.

    Raises:
        ConfigError: If ``reset`` or ``step`` does not take Gymnasium's arguments.
        SpecMismatchError: If a space is not supported.
        EnvironmentCrashedError: If the environments have different action spaces.
    """

    def __init__(self, make: Callable[[], gym.Env], name: str, num_slots: int, restarts: RestartBudgetConfig) -> None:
        self._make = make
        self._envs: list[gym.Env | None] = []
        try:
            for _ in range(num_slots):
                self._envs.append(make())
            first = self._envs[0]
            assert first is not None
            check_signatures(first, name)
            super().__init__(name, num_slots, first.observation_space, first.action_space)
            for row in range(1, num_slots):
                self._check_action_space(row)
        except BaseException:
            self._close_all(name)
            raise
        self._log = FaultLog(name, num_slots, restarts, self._faults)
        self._actions = ActionRows(self.action_space)
        self._observations = ObservationArrays(self.time_step_spec.observation, num_slots, "observation")
        self._step_types = [LAST] * num_slots
        self._mids, self._ones = np.full(num_slots, MID, np.int32), np.ones(num_slots, np.float32)
        # The seeds of slots whose next episode has one.
        self._next_seeds: dict[int, int] = {}

    @property
    def num_restarts(self) -> int:
        return self._log.num_restarts

    @property
    def new_seeds(self) -> Mapping[int, int]:
        return self._log.new_seeds

    @property
    def can_restart_slots(self) -> bool:
        return True

    def restart_slot(self, row: int, seed: int) -> None:
        self._step_types[row] = LAST
        self._next_seeds[row] = seed
        self._log.begin_slot(row, seed)

    def rest_slot(self, row: int) -> None:
        self._step_types[row] = _RESTING

    def fail_slot(self, row: int, error: str) -> None:
        self._log.record(row, "step", error, "", is_lasting=True)
        self._discard(row)
        self._step_types[row] = LAST

    def reset(self, seeds: Sequence[int]) -> TimeStep:
        self._log.begin(seeds)
        self._cuts[:] = False
        self._ended_infos, self._next_seeds = {}, {}
        for row, seed in enumerate(seeds):
            self._begin(row, int(seed))
            self._step_types[row] = FIRST
        return first_steps(self._observations.nest, self.num_slots)

    def step(self, action: Any) -> TimeStep:
        step_types, write = self._step_types, self._observations.write
        rewards: list[Any] = [0.0] * self.num_slots
        # Copies of what holds for nearly every slot; the others are written one by one.
        types, discount = self._mids.copy(), self._ones.copy()
        self._cuts[:] = False
        ended_infos: dict[int, dict[str, float]] = {}
        row = 0
        try:
            for row, (env, slot_action) in enumerate(zip(self._envs, self._actions.rows(action), strict=True)):
                if step_types[row] >= LAST:
                    types[row] = LAST
                    if step_types[row] == LAST:
                        self._begin(row, self._next_seeds.pop(row, None))
                        types[row] = step_types[row] = FIRST
                    continue
                try:
                    result = env.step(slot_action)  # type: ignore[union-attr]
                except BaseException as error:
                    if not is_fault(error):
                        raise
                    self._fail(row, "step", error)
                    types[row] = step_types[row] = LAST
                    self._cuts[row] = True
                    continue
                observation, rewards[row], terminated, truncated, info = step_result(result)
                write(row, observation)
                step_types[row] = MID
                if terminated is False and truncated is False:
                    # Nearly all steps: nothing more to look at.
                    continue
                ended = flag(terminated, "terminated")
                if ended:
                    discount[row] = 0.0
                if ended or flag(truncated, "truncated"):
                    types[row] = step_types[row] = LAST
                    self._log.count_episode(row)
                    if info:
                        ended_infos[row] = info_numbers(info, self.info_metrics)
            reward = numbers(rewards, self.num_slots, "reward")
        except InterfaceError as error:
            raise self._mismatch(row if error.row is None else error.row, error) from error
        self._log.count_step()
        self._ended_infos = ended_infos
        return TimeStep(types, reward, discount, self._observations.nest)

    def close(self) -> None:
        self._close_all(self.name)

    def _close_all(self, name: str) -> None:
        for row in range(len(self._envs)):
            with close_deadline(name, self.step_timeout_s):
                self._discard(row)

    def _begin(self, row: int, seed: int | None = None) -> None:
        """Begins an episode in a slot. Makes a new environment if the slot has none or its environment fails."""
        env = self._envs[row]
        result = None
        if env is not None:
            try:
                result = env.reset() if seed is None else env.reset(seed=seed)
            except BaseException as error:
                if not is_fault(error):
                    raise
                self._fail(row, "reset", error)
                env = None
        if env is None:
            result = self._replace(row)
        try:
            self._observations.write(row, reset_result(result)[0])
        except InterfaceError as error:
            raise self._mismatch(row, error) from error

    def _replace(self, row: int) -> Any:
        """Makes and resets a new environment; tries until the restart budget is used up. Returns what reset returns."""
        while True:
            self._discard(row)
            self._log.back_off(row)
            try:
                env = self._make()
                self._envs[row] = env
                self._check_action_space(row)
                return env.reset(seed=self._log.restart_seed(row))
            except EnvironmentCrashedError:
                raise
            except BaseException as error:
                if not is_fault(error):
                    raise
                self._fail(row, "reset", error)

    def _check_action_space(self, row: int) -> None:
        env = self._envs[row]
        assert env is not None
        problem = action_space_problem(env.action_space, self.action_spec)
        if problem is not None:
            raise self._mismatch(row, problem)

    def _fail(self, row: int, call: str, error: BaseException) -> None:
        problem = call_problem(self._envs[row], call, error)
        if problem is not None:
            raise self._mismatch(row, problem) from error
        try:
            text = "".join(traceback.format_exception(error))
            self._log.record(row, call, in_one_line(error, call), text, is_of_code(error))
        except EnvironmentCrashedError as stop:
            raise stop from error
        self._discard(row)

    def _discard(self, row: int) -> None:
        env, self._envs[row] = self._envs[row], None
        if env is not None:
            close_quietly(env)

    def _mismatch(self, row: int, error: InterfaceError) -> EnvironmentCrashedError:
        return EnvironmentCrashedError(f"env {self.name} {error}", slot=row)
