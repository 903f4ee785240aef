"""InferenceServer: one policy that computes the actions of several collectors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure
from workers.collection.collector import PolicyFactory


class ServerDescription(NamedTuple):
    """What a collector has to know about a server's policy.

    Attributes:
        policy_state_spec: Nest of array specs of one policy state.
        info_spec: Nest of array specs of one policy info.
        inference: What computes the actions.
    """

    policy_state_spec: Any
    info_spec: Any
    inference: str


class ServerStatistics(NamedTuple):
    """Statistics of a server since it was started.

    Attributes:
        num_calls: Number of calls that were answered.
        num_batches: Number of policy calls, each for a batch of calls.
        mean_rows: Mean number of rows in a batch.
        mean_wait_s: Mean seconds that a call waited for others.
        mean_policy_s: Mean seconds of a policy call.
    """

    num_calls: int
    num_batches: int
    mean_rows: float
    mean_wait_s: float
    mean_policy_s: float


class _Request(NamedTuple):
    time_step: TimeStep
    policy_state: Any
    seed: np.ndarray
    arrived: float
    answer: asyncio.Future[PolicyStep]


class InferenceServer:
    """Joins the rows of several collectors into one call of the policy.

    A call waits until ``max_rows`` rows have arrived, but not longer than ``window_s``. The caller owns the policy
    state, as with any policy: it is sent with the call and returned with the answer. Every batch is padded to
    ``max_rows`` rows, so that the policy is compiled once. The result of a row does not depend on the other rows.

    Args:
        policy_factory: Makes the policy.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        max_rows: Largest number of rows in a batch: the environments of all collectors.
        window_s: Seconds that a call waits for more rows.
    """

    def __init__(
        self, policy_factory: PolicyFactory, time_step_spec: TimeStep, action_spec: Any, max_rows: int, window_s: float
    ) -> None:
        self._policy = policy_factory(time_step_spec, action_spec).collect
        self._policy.warm_up(max_rows)
        self._max_rows, self._window_s = max_rows, window_s
        self._waiting: list[_Request] = []
        self._num_rows = 0
        self._timer: asyncio.TimerHandle | None = None
        self._num_calls = self._num_batches = self._rows_answered = 0
        self._wait_s = self._policy_s = 0.0

    async def describe(self) -> ServerDescription:
        """Returns what collectors have to know about the policy, once the server is up."""
        policy = self._policy
        inference = getattr(policy, "inference", "numpy")
        return ServerDescription(policy.policy_state_spec, policy.info_spec, inference)

    async def get_initial_state(self, batch_size: int) -> Any:
        """Returns the policy's initial state.

        Args:
            batch_size: Number of rows, B.

        Returns:
            Nest of arrays ``[B, ...]``.
        """
        return map_structure(np.asarray, self._policy.get_initial_state(batch_size))

    async def action(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray) -> PolicyStep:
        """Returns the policy step for the rows of one collector.

        Args:
            time_step: Nest of arrays ``[B, ...]``.
            policy_state: Nest of arrays ``[B, ...]``.
            seed: int32 ``[B, 2]``.

        Returns:
            Policy step, a nest of arrays ``[B, ...]``.

        Raises:
            Exception: Whatever the policy raises.
        """
        loop = asyncio.get_running_loop()
        request = _Request(time_step, policy_state, seed, time.perf_counter(), loop.create_future())
        if self._num_rows + len(seed) > self._max_rows:
            self._answer()
        self._waiting.append(request)
        self._num_rows += len(seed)
        if self._num_rows >= self._max_rows:
            self._answer()
        elif self._timer is None:
            self._timer = loop.call_later(self._window_s, self._answer)
        return await request.answer

    async def statistics(self) -> ServerStatistics:
        """Returns the statistics so far."""
        calls, batches = max(self._num_calls, 1), max(self._num_batches, 1)
        return ServerStatistics(
            self._num_calls,
            self._num_batches,
            self._rows_answered / batches,
            self._wait_s / calls,
            self._policy_s / batches,
        )

    def _answer(self) -> None:
        """Answers all waiting calls with one call of the policy."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        requests, self._waiting, self._num_rows = self._waiting, [], 0
        if not requests:
            return
        begin = time.perf_counter()
        try:
            steps = self._steps(requests)
        except Exception as error:  # Every waiting call has to end, whatever the policy raised.
            for request in requests:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        self._num_calls += len(requests)
        self._num_batches += 1
        self._wait_s += sum(begin - request.arrived for request in requests)
        self._policy_s += time.perf_counter() - begin
        for request, step in zip(requests, steps, strict=True):
            if not request.answer.done():  # It is done if the caller has gone.
                request.answer.set_result(step)

    def _steps(self, requests: Sequence[_Request]) -> list[PolicyStep]:
        sizes = [len(request.seed) for request in requests]
        self._rows_answered += sum(sizes)
        num_missing = self._max_rows - sum(sizes)

        def joined(*leaves: Any) -> np.ndarray:
            arrays = [np.asarray(leaf) for leaf in leaves]
            if num_missing:
                arrays.append(np.zeros((num_missing, *arrays[0].shape[1:]), arrays[0].dtype))
            return np.concatenate(arrays)

        step = self._policy.action(
            map_structure(joined, *[request.time_step for request in requests]),
            map_structure(joined, *[request.policy_state for request in requests]),
            joined(*[request.seed for request in requests]),
        )
        ends = np.cumsum(sizes)
        return [
            map_structure(lambda leaf, rows=slice(end - size, end): np.asarray(leaf)[rows], step)
            for size, end in zip(sizes, ends, strict=True)
        ]
