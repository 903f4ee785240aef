"""ProcessEnvironment: each slot in a process of its own, which may raise, die or hang."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np

from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten
from workers.environments.actions import ActionRows
from workers.environments.base import FIRST, LAST, MID, Environment, first_steps
from workers.environments.fault_log import FaultLog
from workers.environments.observations import ObservationArrays
from workers.environments.processes.env_process import SlotJob
from workers.environments.processes.fork_server import ForkServer
from workers.environments.processes.handle import ProcessHandle
from workers.environments.processes.protocol import COMMAND, DONE, MISMATCH, RESET, STEP, receive, receive_texts
from workers.environments.processes.shared_memory import SharedMemory
from workers.restart_budget import RestartBudgetConfig

# Until a new process has imported and made its environment.
START_TIMEOUT_S = 120.0
_TEXT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 2.0


class ProcessEnvironment(Environment):
    """A process for each slot; arrays go through shared memory.

    A slot whose environment raises, whose process ends, or that has not answered by the deadline is cut (see
    :attr:`Environment.cuts`) and gets a new process and environment; the others do not notice. The stacks of one that
    hangs are in its :class:`Fault`. The processes never load TensorFlow and see no GPU. They end with :meth:`close`
    and with this process.

    Args:
        make: Makes one slot's environment; it is pickled.
        name: The environment's id, for messages.
        num_slots: B.
        rebuilds: How many failures are borne.
        step_timeout_s: Seconds that a step or a reset may take.
    """

    def __init__(
        self,
        make: Callable[[], gym.Env],
        name: str,
        num_slots: int,
        rebuilds: RestartBudgetConfig,
        step_timeout_s: float,
    ) -> None:
        # Here, so that an environment that cannot be made is refused like any other.
        env = make()
        try:
            super().__init__(name, num_slots, env.observation_space, env.action_space)
        finally:
            with suppress(Exception):
                env.close()
        specs = self.time_step_spec.observation, self.action_spec
        self._step_timeout_s = step_timeout_s
        self._log = FaultLog(name, num_slots, rebuilds, self._faults)
        self._actions = ActionRows(self.action_space)
        self._memory = SharedMemory(*specs, num_slots)
        # Apart from the shared memory, which a process that failed may have written half a row to.
        self._observations = ObservationArrays(specs[0], num_slots, "observation")
        self._fork_server = ForkServer(SlotJob(make, *specs, num_slots), START_TIMEOUT_S)
        self._slots: list[ProcessHandle | None] = [None] * num_slots
        self._timeouts_s = [step_timeout_s] * num_slots
        self._selector = selectors.DefaultSelector()
        self._step_types = np.full(num_slots, LAST, np.int32)
        self._closed = False

    @property
    def num_rebuilds(self) -> int:
        return self._log.num_rebuilds

    def reset(self, seeds: Sequence[int]) -> TimeStep:
        self._log.begin(seeds)
        self._cuts[:] = False
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
        calls = {}
        for row, begin in enumerate(begins.tolist()):
            calls[row] = "reset" if begin else "step"
            if begin:
                self._send_reset(row, None)
            else:
                self._send(row, STEP, -1, self._step_timeout_s)
        failed = self._wait(calls)
        for row in failed:
            self._cuts[row] = not begins[row]
        self._replace([row for row in failed if begins[row]])
        good = ~self._cuts
        self._copy_observations(np.flatnonzero(good))
        memory = self._memory
        stepped = good & ~begins
        ended = stepped & (memory.terminated | memory.truncated)
        self._step_types = np.where(begins, FIRST, np.where(ended | self._cuts, LAST, MID)).astype(np.int32)
        discount = np.where(stepped & memory.terminated, 0.0, 1.0).astype(np.float32)
        reward = np.where(stepped, memory.reward, 0.0).astype(np.float32)
        self._log.count_step()
        return TimeStep(self._step_types.copy(), reward, discount, self._observations.nest)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # They close their environments when their connection does; those that do not are killed by the fork server.
        slots = [slot for slot in self._slots if slot is not None]
        for slot in slots:
            slot.connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _CLOSE_TIMEOUT_S
        for slot in slots:
            slot.connection.settimeout(max(deadline - time.monotonic(), 0.001))
            with suppress(OSError):
                slot.connection.recv(1)
            slot.close()
        self._selector.close()
        self._fork_server.close()
        self._memory.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    def _send_reset(self, row: int, seed: int | None) -> None:
        """Asks for a new episode, of a new process where there is none."""
        if self._slots[row] is not None:
            self._send(row, RESET, -1 if seed is None else seed, self._step_timeout_s)
            return
        if self._log.is_rebuilding(row):
            self._log.back_off(row)
            seed = self._log.rebuild_seed(row)
        slot = ProcessHandle(self._fork_server, row, self._memory.descriptor)
        self._slots[row] = slot
        self._selector.register(slot.connection, selectors.EVENT_READ, row)
        self._send(row, RESET, -1 if seed is None else seed, START_TIMEOUT_S + self._step_timeout_s)

    def _send(self, row: int, command: bytes, seed: int, timeout_s: float) -> None:
        slot = self._slots[row]
        assert slot is not None
        # One that has ended is found when its answer is read.
        with suppress(OSError):
            slot.connection.sendall(COMMAND.pack(command, seed))
        self._timeouts_s[row] = timeout_s

    def _wait(self, calls: dict[int, str]) -> list[int]:
        """Waits for the answers to what was sent to rows; those that failed, which have no process any more."""
        start = time.monotonic()
        deadlines = {row: start + self._timeouts_s[row] for row in calls}
        pending, failed = set(calls), []
        while pending:
            remaining_s = min(deadlines[row] for row in pending) - time.monotonic()
            events = self._selector.select(max(remaining_s, 0.0))
            for key, _ in events:
                pending.discard(key.data)
                if not self._read(key.data, calls[key.data]):
                    failed.append(key.data)
            if not events:
                for row in [row for row in pending if deadlines[row] <= time.monotonic()]:
                    pending.discard(row)
                    self._hung(row, calls[row])
                    failed.append(row)
        return sorted(failed)

    def _read(self, row: int, call: str) -> bool:
        """Takes a slot's answer; whether it went well."""
        slot = self._slots[row]
        assert slot is not None
        try:
            kind = receive(slot.connection, 1)
            if kind == DONE:
                return True
            slot.connection.settimeout(_TEXT_TIMEOUT_S)
            if kind == MISMATCH:
                (text,) = receive_texts(slot.connection, 1)
                raise EnvironmentCrashedError(f"env {self.name} returned {text}", slot=row)
            error, trace = receive_texts(slot.connection, 2)
        except (EOFError, OSError):
            error, trace = f"ended its process in {call}", slot.stacks()
        self._fail(row, call, error, trace)
        return False

    def _hung(self, row: int, call: str) -> None:
        slot = self._slots[row]
        assert slot is not None
        stacks = slot.dump_stacks()
        self._fail(row, call, f"hung in {call}: no answer within {self._timeouts_s[row]:g} s (step_timeout_s)", stacks)

    def _fail(self, row: int, call: str, error: str, trace: str) -> None:
        slot, self._slots[row] = self._slots[row], None
        assert slot is not None
        self._selector.unregister(slot.connection)
        slot.kill()
        self._log.record(row, call, error, trace)

    def _replace(self, failed: list[int]) -> None:
        """Gives the rows new processes until all have begun an episode."""
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
