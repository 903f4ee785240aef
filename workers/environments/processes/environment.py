"""ProcessEnvironment: each environment in a process of its own, which may raise, die or hang."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.environments.gymnasium_interface import check_signatures
from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten
from workers.environments.actions import ActionRows
from workers.environments.base import FIRST, LAST, MID, Environment, first_steps
from workers.environments.deadline import START_TIMEOUT_S, close_deadline, constructor_deadline
from workers.environments.fault_log import FaultLog
from workers.environments.observations import ObservationArrays
from workers.environments.process_state import close_quietly
from workers.environments.processes.env_process import EnvProcessJob
from workers.environments.processes.fork_server import ForkServer
from workers.environments.processes.handle import ProcessHandle
from workers.environments.processes.protocol import (
    COMMAND,
    DONE,
    ENDED,
    MISMATCH,
    RESET,
    STEP,
    receive,
    receive_texts,
)
from workers.environments.processes.shared_memory import SharedMemory
from workers.restart_budget import RestartBudgetConfig

_TEXT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 2.0


class ProcessEnvironment(Environment):
    """Steps B environments, each in its own process. Arrays go through shared memory.

    If an environment raises, its process ends, or it does not answer by the deadline, its episode is cut (see
    :attr:`Environment.cuts`) and the env slot gets a new process and environment. The others go on. If it hangs, its
    :class:`Fault` holds the stacks. The processes never load TensorFlow and see no GPU. They end with :meth:`close`
    and when this process ends.

    Args:
        make: Makes one environment; it is pickled.
        name: The environment's id, for messages.
        num_slots: B, the number of env slots.
        restarts: The restart budget of each env slot.
        step_timeout_s: Seconds that a step or a reset may take.
        info_metrics: See :class:`workers.environments.base.Environment`.

    Raises:
        ConfigError: If ``reset`` or ``step`` does not take Gymnasium's arguments.
        SpecMismatchError: If a space is not supported.
    """

    def __init__(
        self,
        make: Callable[[], gym.Env],
        name: str,
        num_slots: int,
        restarts: RestartBudgetConfig,
        step_timeout_s: float,
        info_metrics: tuple[str, ...] | None = None,
    ) -> None:
        # Made in this process first: so an environment that cannot be made fails here, as in the other forms.
        with constructor_deadline(name, step_timeout_s):
            env = make()
        try:
            check_signatures(env, name)
            super().__init__(name, num_slots, env.observation_space, env.action_space)
        finally:
            with close_deadline(name, step_timeout_s):
                close_quietly(env)
        specs = self.time_step_spec.observation, self.action_spec
        self.step_timeout_s = step_timeout_s
        self._log = FaultLog(name, num_slots, restarts, self._faults)
        self._actions = ActionRows(self.action_space)
        self._memory = SharedMemory(*specs, num_slots)
        # A copy of the shared memory: there, a process that failed may have written half a row.
        self._observations = ObservationArrays(specs[0], num_slots, "observation")
        self._fork_server = ForkServer(EnvProcessJob(make, *specs, num_slots, info_metrics), START_TIMEOUT_S)
        self._handles: list[ProcessHandle | None] = [None] * num_slots
        self._timeouts_s = [step_timeout_s] * num_slots
        self._selector = selectors.DefaultSelector()
        self._step_types = np.full(num_slots, LAST, np.int32)
        self._rests = np.zeros(num_slots, np.bool_)
        # The seeds of slots whose next episode has one.
        self._next_seeds: dict[int, int] = {}
        self._closed = False

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
        self._step_types[row], self._rests[row] = LAST, False
        self._next_seeds[row] = seed
        self._log.begin_slot(row, seed)

    def rest_slot(self, row: int) -> None:
        self._step_types[row], self._rests[row] = LAST, True

    def fail_slot(self, row: int, error: str) -> None:
        self._fail(row, "step", error, "", is_lasting=True)
        self._step_types[row] = LAST

    def reset(self, seeds: Sequence[int]) -> TimeStep:
        self._log.begin(seeds)
        self._cuts[:] = self._rests[:] = False
        self._ended_infos, self._next_seeds = {}, {}
        for row, seed in enumerate(seeds):
            self._send_reset(row, int(seed))
        self._replace(self._wait(dict.fromkeys(range(self.num_slots), "reset")))
        self._copy_observations(np.arange(self.num_slots))
        self._step_types[:] = FIRST
        return first_steps(self._observations.nest, self.num_slots)

    def step(self, action: Any) -> TimeStep:
        for target, leaf in zip(self._memory.actions, flatten(self._actions.clipped(action)), strict=True):
            target[...] = leaf
        begins = self._step_types == LAST
        self._cuts[:] = False
        self._ended_infos = {}
        calls = {}
        for row, begin in enumerate(begins.tolist()):
            if self._rests[row]:
                continue
            calls[row] = "reset" if begin else "step"
            if begin:
                self._send_reset(row, self._next_seeds.pop(row, None))
            else:
                self._send(row, STEP, -1, self.step_timeout_s)
        failed = self._wait(calls)
        for row in failed:
            self._cuts[row] = not begins[row]
        self._replace([row for row in failed if begins[row]])
        good = ~(self._cuts | self._rests)
        self._copy_observations(np.flatnonzero(good))
        memory = self._memory
        stepped = good & ~begins
        ended = stepped & (memory.terminated | memory.truncated)
        for row in np.flatnonzero(ended).tolist():
            self._log.count_episode(row)
        step_types = np.where(begins, FIRST, np.where(ended | self._cuts, LAST, MID))
        self._step_types = np.where(self._rests, LAST, step_types).astype(np.int32)
        discount = np.where(stepped & memory.terminated, 0.0, 1.0).astype(np.float32)
        reward = np.where(stepped, memory.reward, 0.0).astype(np.float32)
        self._log.count_step()
        return TimeStep(self._step_types.copy(), reward, discount, self._observations.nest)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # A process closes its environment when its connection closes. The fork server kills those that do not.
        handles = [handle for handle in self._handles if handle is not None]
        for handle in handles:
            handle.connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _CLOSE_TIMEOUT_S
        for handle in handles:
            handle.connection.settimeout(max(deadline - time.monotonic(), 0.001))
            with suppress(OSError):
                handle.connection.recv(1)
            handle.close()
        self._selector.close()
        self._fork_server.close()
        self._memory.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    def _send_reset(self, row: int, seed: int | None) -> None:
        """Tells a slot's process to begin an episode. Starts the process if there is none."""
        if self._handles[row] is not None:
            self._send(row, RESET, -1 if seed is None else seed, self.step_timeout_s)
            return
        if self._log.has_failed(row):
            self._log.back_off(row)
            seed = self._log.restart_seed(row)
        handle = self._handles[row] = self._start_process(row)
        self._selector.register(handle.connection, selectors.EVENT_READ, row)
        self._send(row, RESET, -1 if seed is None else seed, START_TIMEOUT_S + self.step_timeout_s)

    def _start_process(self, row: int) -> ProcessHandle:
        try:
            return ProcessHandle(self._fork_server, row, self._memory.descriptor)
        except OSError as error:
            raise EnvironmentCrashedError(
                f"env {self.name} cannot have {self.num_slots} processes: {error.strerror or error}; use fewer "
                "environments in a process of their own, or allow more open files (ulimit -n)",
                slot=row,
            ) from error

    def _send(self, row: int, command: bytes, seed: int, timeout_s: float) -> None:
        handle = self._handles[row]
        assert handle is not None
        # If the process has ended, _read finds out.
        with suppress(OSError):
            handle.connection.sendall(COMMAND.pack(command, seed))
        self._timeouts_s[row] = timeout_s

    def _wait(self, calls: dict[int, str]) -> list[int]:
        """Waits until each row has answered or failed, and ends the processes that failed.

        Args:
            calls: The call that each row has to answer, ``step`` or ``reset``.

        Returns:
            The rows that failed, in order.
        """
        start = time.monotonic()
        deadlines = {row: start + self._timeouts_s[row] for row in calls}
        pending, failed, ended = set(calls), [], []
        try:
            while pending:
                remaining_s = min(deadlines[row] for row in pending) - time.monotonic()
                events = self._selector.select(max(remaining_s, 0.0))
                for key, _ in events:
                    if key.data not in pending:
                        # A process that has ended after its answer. Its next call finds out.
                        self._selector.unregister(key.fileobj)
                        ended.append(key)
                        continue
                    pending.discard(key.data)
                    if not self._read(key.data, calls[key.data]):
                        failed.append(key.data)
                if not events:
                    for row in [row for row in pending if deadlines[row] <= time.monotonic()]:
                        pending.discard(row)
                        self._fail_hung(row, calls[row])
                        failed.append(row)
        finally:
            for key in ended:
                self._selector.register(key.fileobj, selectors.EVENT_READ, key.data)
        return sorted(failed)

    def _read(self, row: int, call: str) -> bool:
        """Reads the answer of a slot's process. Returns False, and ends the process, if the call failed."""
        handle = self._handles[row]
        assert handle is not None
        try:
            kind = receive(handle.connection, 1)
            if kind == DONE:
                return True
            if kind == ENDED:
                self._ended_infos[row] = json.loads(receive_texts(handle.connection, 1)[0])
                return True
            handle.connection.settimeout(_TEXT_TIMEOUT_S)
            if kind == MISMATCH:
                (text,) = receive_texts(handle.connection, 1)
                raise EnvironmentCrashedError(f"env {self.name} {text}", slot=row)
            error, trace, lasting = receive_texts(handle.connection, 3)
        except (EOFError, OSError):
            error, trace, lasting = f"ended its process in {call}", handle.stacks(), ""
        self._fail(row, call, error, trace, bool(lasting))
        return False

    def _fail_hung(self, row: int, call: str) -> None:
        handle = self._handles[row]
        assert handle is not None
        stacks = handle.dump_stacks()
        self._fail(row, call, f"hung in {call}: no answer within {self._timeouts_s[row]:g} s (step_timeout_s)", stacks)

    def _fail(self, row: int, call: str, error: str, trace: str, is_lasting: bool = False) -> None:
        handle, self._handles[row] = self._handles[row], None
        assert handle is not None
        self._selector.unregister(handle.connection)
        handle.kill()
        self._log.record(row, call, error, trace, is_lasting)

    def _replace(self, failed: list[int]) -> None:
        """Starts new processes for the rows until each has begun an episode."""
        while failed:
            for row in failed:
                self._send_reset(row, None)
            failed = self._wait(dict.fromkeys(failed, "reset"))

    def _copy_observations(self, rows: np.ndarray) -> None:
        for target, leaf in zip(self._observations.leaves, self._memory.observations, strict=True):
            if len(rows) == self.num_slots:
                np.copyto(target, leaf)
            else:
                target[rows] = leaf[rows]
