"""The process of one environment: steps the environment on command."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym

from distpolicy.environments.gymnasium_interface import (
    InterfaceError,
    action_space_problem,
    call_problem,
    flag,
    number,
    reset_result,
    step_result,
)
from distpolicy.utils.nests.array_nest import leaf_places, packer
from workers.environments.episode_info import info_numbers
from workers.environments.fault_log import in_one_line, is_of_code
from workers.environments.observations import ObservationArrays
from workers.environments.process_state import close_quietly
from workers.environments.processes.protocol import COMMAND, DONE, ENDED, MISMATCH, RAISED, RESET, receive, send_text
from workers.environments.processes.shared_memory import SharedMemory

# Makes faulthandler write the stacks of all threads, even if one hangs in C code.
DUMP_SIGNAL = signal.SIGUSR1
_PR_SET_PDEATHSIG = 1


class EnvProcessJob(NamedTuple):
    """What all processes of a batch have in common.

    Attributes:
        make: Makes one environment.
        observation_spec: Nest of array specs of one environment's observation.
        action_spec: Nest of array specs of one environment's action.
        num_slots: B, the number of env slots.
        info_metrics: Names of the numbers in an episode's last ``info`` to report; None for all.
    """

    make: Callable[[], gym.Env]
    observation_spec: Any
    action_spec: Any
    num_slots: int
    info_metrics: tuple[str, ...] | None = None


def die_with_parent() -> None:
    """Asks Linux to kill this process as soon as its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve_environment(
    job: EnvProcessJob, row: int, connection: socket.socket, memory_file: int, stacks_file: int
) -> None:
    """Answers commands until the connection closes or the environment raises.

    An environment that raised is in an unknown state, so it is not stepped again.

    Args:
        job: What all processes of the batch have in common.
        row: The env slot of this process.
        connection: The socket that commands come from.
        memory_file: File descriptor of the shared memory.
        stacks_file: File descriptor that stacks are dumped to.
    """
    faulthandler.enable(stacks_file)
    faulthandler.register(DUMP_SIGNAL, stacks_file)
    memory = SharedMemory(job.observation_spec, job.action_spec, job.num_slots, memory_file)
    arrays = ObservationArrays(job.observation_spec, job.num_slots, "observation", memory.observations)
    pack = packer(leaf_places(job.action_spec))
    env: gym.Env | None = None
    call = "reset"
    try:
        while (received := _next_command(connection)) is not None:
            command, seed = received
            call = "reset" if command == RESET else "step"
            if env is None:
                env = job.make()
                if problem := action_space_problem(env.action_space, job.action_spec):
                    raise problem
            numbers: dict[str, float] = {}
            if command == RESET:
                observation, _ = reset_result(env.reset() if seed < 0 else env.reset(seed=seed))
            else:
                # Copies, since an environment may keep an action that the next step would overwrite.
                action = pack([leaf[row].copy() for leaf in memory.actions])
                observation, reward, terminated, truncated, info = step_result(env.step(action))
                memory.reward[row] = number(reward, "reward")
                memory.terminated[row] = flag(terminated, "terminated")
                memory.truncated[row] = flag(truncated, "truncated")
                if info and (memory.terminated[row] or memory.truncated[row]):
                    numbers = info_numbers(info, job.info_metrics)
            arrays.write(row, observation)
            if numbers:
                send_text(connection, ENDED, [json.dumps(numbers)])
            else:
                connection.sendall(DONE)
        if env is not None:
            close_quietly(env)
    except InterfaceError as error:
        send_text(connection, MISMATCH, [str(error)])
    # Whoever is at the terminal interrupts the command, not this process.
    except BaseException as error:
        problem = None if env is None else call_problem(env, call, error)
        if problem is not None:
            send_text(connection, MISMATCH, [str(problem)])
            return
        trace = "".join(traceback.format_exception(error))
        send_text(connection, RAISED, [in_one_line(error, call), trace, "lasting" if is_of_code(error) else ""])


def _next_command(connection: socket.socket) -> tuple[bytes, int] | None:
    """Returns a command and a seed; None if the connection was closed."""
    try:
        command, seed = COMMAND.unpack(receive(connection, COMMAND.size))
    except EOFError:
        return None
    return command, seed
