"""ProcessPyEnvironment: one environment in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, cast

import cloudpickle

from distpolicy.environments.process_worker import CONSTRUCT, Failure, Request, receive, send
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.errors import EnvironmentCrashedError
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.waiting_sockets import socket_pair

EnvConstructor = Callable[[], PyEnvironment]
Promise = Callable[[], Any]

_END_TIMEOUT_S = 5.0
_PROGRAM = "import sys; from distpolicy.environments.process_worker import main; main(int(sys.argv[1]))"


class ProcessPyEnvironment:
    """Makes an environment in a new process and passes calls on to it.

    The process is a new interpreter, not a fork, so TensorFlow's threads do no harm, and it runs neither the program's
    main module nor a notebook's cells. It ends with :meth:`close`, with this object and with the program. The
    environment's other public attributes are available here, too.

    Args:
        env_constructor: Makes the environment. It may be a lambda. It travels to the process as a pickle.
        flatten: Accepted for programs that ask for leaves instead of nests between the processes, to save time. Nests
            cost no more here.
    """

    def __init__(self, env_constructor: EnvConstructor, flatten: bool = False) -> None:
        del flatten
        self._constructor = cloudpickle.dumps(env_constructor)
        self._connection: Connection | None = None
        self._end: Callable[[], Any] | None = None
        self._num_sent = self._num_received = 0
        self._results: dict[int, Any] = {}
        self._specs: dict[str, Any] = {}

    def start(self, wait_to_start: bool = True) -> None:
        """Starts the process, which makes the environment.

        Args:
            wait_to_start: Whether to wait until the environment is made.

        Raises:
            EnvironmentCrashedError: If ``wait_to_start`` and the constructor raised.
        """
        ours, theirs = socket_pair()
        with theirs:
            process = subprocess.Popen(
                # -P: the path below has all folders in their order. Not -m: the classes of messages must be a module's.
                [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                # The process waits for the end of its input, which is the end of this program.
                stdin=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            )
        self._connection = Connection(ours.detach())
        self._end = weakref.finalize(self, _end, process, self._connection)
        self._request(Request(CONSTRUCT, ((self._constructor,), {})))
        if wait_to_start:
            self.wait_start()

    def wait_start(self) -> None:
        """Waits until the environment is made.

        Raises:
            EnvironmentCrashedError: If the constructor raised.
        """
        self._result(0)

    def observation_spec(self) -> Any:
        return self._spec("observation_spec")

    def action_spec(self) -> Any:
        return self._spec("action_spec")

    def time_step_spec(self) -> TimeStep:
        return self._spec("time_step_spec")

    def __getattr__(self, name: str) -> Any:
        # Private attributes are never the environment's, and a copied object has none yet.
        if name.startswith("_"):
            raise AttributeError(name)
        return self.access(name)

    def access(self, name: str) -> Any:
        """Returns an attribute of the environment.

        Raises:
            AttributeError: If the environment does not have it.
        """
        return self._result(self._request(Request(name, None)))

    def call(self, name: str, *args: Any, **kwargs: Any) -> Promise:
        """Calls a method of the environment without waiting for it.

        Returns:
            A function that waits for the result and returns it, once. It raises :class:`EnvironmentCrashedError` if
            the method raised or the process ended, and NotImplementedError where the method did.
        """
        number = self._request(Request(name, (args, kwargs)))
        return lambda: self._result(number)

    def step(self, action: Any, blocking: bool = True) -> TimeStep | Promise:
        """Takes an action. Returns the time step, or with ``blocking=False`` a function that waits for it."""
        promise = self.call("step", action)
        return promise() if blocking else promise

    def reset(self, blocking: bool = True) -> TimeStep | Promise:
        """Begins an episode. Returns the time step, or with ``blocking=False`` a function that waits for it."""
        promise = self.call("reset")
        return promise() if blocking else promise

    def render(self, mode: str = "rgb_array", blocking: bool = True) -> Any:
        """Returns an image, uint8 ``[height, width, 3]``, or with ``blocking=False`` a function that waits for it.

        Raises:
            NotImplementedError: If the mode is not ``rgb_array``, or the environment cannot be rendered.
        """
        check_render_mode(mode)
        promise = self.call("render", mode)
        return promise() if blocking else promise

    def close(self) -> None:
        """Closes the environment and ends its process, by force after 5 s. It may be called twice."""
        if self._end is not None:
            self._end()
            self._connection = None

    def _spec(self, name: str) -> Any:
        if name not in self._specs:
            self._specs[name] = self.call(name)()
        return self._specs[name]

    def _request(self, request: Request) -> int:
        if self._connection is None:
            raise EnvironmentCrashedError("the environment's process is not running; call start() first")
        # The reason is in a result that is not read yet.
        with suppress(ConnectionError):
            send(self._connection, request)
        self._num_sent += 1
        return self._num_sent - 1

    def _result(self, number: int) -> Any:
        while self._num_received <= number:
            if self._connection is None:
                raise EnvironmentCrashedError("the environment's process was closed")
            try:
                self._results[self._num_received] = receive(self._connection)
            except (EOFError, ConnectionError) as error:
                raise EnvironmentCrashedError("the environment's process has ended") from error
            self._num_received += 1
        result = self._results.pop(number)
        if isinstance(result, Failure):
            raise _error(result)
        return result


def check_render_mode(mode: str) -> None:
    """Raises NotImplementedError for another mode than ``rgb_array``: windows would open in other processes."""
    if mode != "rgb_array":
        raise NotImplementedError(f"environments in processes render the mode rgb_array, not {mode!r}")


def _error(failure: Failure) -> Exception:
    error: Exception
    if failure.kind in ("AttributeError", "NotImplementedError"):
        error = {"AttributeError": AttributeError, "NotImplementedError": NotImplementedError}[failure.kind](
            failure.message
        )
    else:
        error = EnvironmentCrashedError(failure.message, traceback=failure.traceback)
    error.add_note(f"In the environment's process:\n{failure.traceback}")
    return error


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    try:
        process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    cast(Any, process.stdin).close()
