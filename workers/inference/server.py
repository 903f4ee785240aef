"""InferenceServer: one policy that answers several collectors at once."""

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
    """What a collector has to know of the policy behind a server.

    Attributes:
        policy_state_spec: Nest of array specs.
        info_spec: Nest of array specs.
        inference: What actions are computed by.
    """

    policy_state_spec: Any
    info_spec: Any
    inference: str


class ServerStatistics(NamedTuple):
    """What a server did.

    Attributes:
        num_calls: Calls that were answered.
        num_batches: Calls of the policy that it took.
        mean_rows: Rows of such a batch.
        mean_wait_s: Seconds that a call waited for others.
        mean_policy_s: Seconds of the policy for a batch.
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
    """Puts the rows of several collectors together into one call of the policy.

    A call waits until ``max_rows`` rows are there, but no longer than the window. Recurrent state belongs to the
    caller, as with any policy: it comes with the call and goes back with the answer. Batches are filled up to
    ``max_rows``, so that the policy is compiled once; what a row gets does not depend on the rows beside it.

    Args:
        policy_factory: Makes the policy.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        max_rows: The most rows of a batch: the slots of all collectors.
        window_s: Seconds to wait for more rows.
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
        """What collectors have to know; answers once the server is up."""
        policy = self._policy
        inference = getattr(policy, "inference", "numpy")
        return ServerDescription(policy.policy_state_spec, policy.info_spec, inference)

    async def get_initial_state(self, batch_size: int) -> Any:
        """The policy's initial state, as arrays."""
        return map_structure(np.asarray, self._policy.get_initial_state(batch_size))

    async def action(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray) -> PolicyStep:
        """The policy's step for the rows of one collector.

        Args:
            time_step: Nest of arrays ``[B, ...]``.
            policy_state: Nest of arrays ``[B, ...]``.
            seed: int32 ``[B, 2]``.

        Returns:
            Arrays ``[B, ...]``.
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
        """What the server did so far."""
        calls, batches = max(self._num_calls, 1), max(self._num_batches, 1)
        return ServerStatistics(
            self._num_calls,
            self._num_batches,
            self._rows_answered / batches,
            self._wait_s / calls,
            self._policy_s / batches,
        )

    def _answer(self) -> None:
        """Answers all that wait, by one call of the policy."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        requests, self._waiting, self._num_rows = self._waiting, [], 0
        if not requests:
            return
        begin = time.perf_counter()
        try:
            steps = self._steps(requests)
        except Exception as error:  # Whatever it is, those who wait are to be told.
            for request in requests:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        self._num_calls += len(requests)
        self._num_batches += 1
        self._wait_s += sum(begin - request.arrived for request in requests)
        self._policy_s += time.perf_counter() - begin
        for request, step in zip(requests, steps, strict=True):
            if not request.answer.done():  # a caller may have gone
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
