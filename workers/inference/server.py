"""InferenceServer: one policy that computes the actions of several collectors."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from distpolicy.errors import StaleWeightsError
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.weights import Weights, WeightsReceiver
from workers.collection.collector import PolicyFactory

# A policy of the server: the one that acts in rollouts, or its greedy form.
ServedPolicy = Literal["collect", "greedy"]


class ServedWeights(NamedTuple):
    """The name of weights that a server holds. Collectors get it in the place of the weights.

    Attributes:
        generation: The generation of the weights.
        version: Their version.
        layout: Empty: a collector of a server has no variables.
    """

    generation: int
    version: int
    layout: tuple[()] = ()

    def verify(self) -> None:
        """Does nothing; the server has checked the weights."""


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
    served: ServedPolicy
    weights: ServedWeights | None
    arrived: float
    answer: asyncio.Future[PolicyStep]


class InferenceServer:
    """Joins the rows of several collectors into one call of the policy.

    A call waits until ``max_rows`` rows have arrived, but not longer than ``window_s``. The caller owns the policy
    state, as with any policy: it is sent with the call and returned with the answer. Every batch is padded to
    ``max_rows`` rows, so that the policy is compiled once. The result of a row does not depend on the other rows.

    In training, :meth:`apply` gives it the weights of each version, and a call says which version acts: collectors may
    be at different ones. It holds the newest ``num_versions``.

    Args:
        policy_factory: Makes the policy.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        max_rows: Largest number of rows in a batch: the environments of all collectors.
        window_s: Seconds that a call waits for more rows.
        num_versions: Number of versions of the weights that it holds.
    """

    def __init__(
        self,
        policy_factory: PolicyFactory,
        time_step_spec: TimeStep,
        action_spec: Any,
        max_rows: int,
        window_s: float,
        num_versions: int = 1,
    ) -> None:
        self._policies = policy_factory(time_step_spec, action_spec)
        self._policy = self._policies.collect
        self._policy.warm_up(max_rows)
        self._served: dict[ServedPolicy, Any] = {"collect": self._policy}
        has_variables = hasattr(self._policy, "named_variables")
        self._receiver = WeightsReceiver(self._policy, "inference server") if has_variables else None
        self._num_versions = num_versions
        self._weights: OrderedDict[ServedWeights, Weights] = OrderedDict()
        self._acting: tuple[ServedWeights, ServedPolicy] | None = None
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

    async def apply(self, weights: Weights) -> ServedWeights:
        """Holds weights, so that collectors can act by them.

        Args:
            weights: The weights; the oldest ones that are held are dropped if there are too many.

        Returns:
            Their name.

        Raises:
            StaleWeightsError: If they are older than the newest ones.
            SpecMismatchError: If their layout is not the policy's, or they are damaged.
        """
        assert self._receiver is not None, "a policy without variables takes no weights"
        name = ServedWeights(weights.generation, weights.version)
        if self._weights and name < (newest := next(reversed(self._weights))):
            raise StaleWeightsError(
                f"the inference server holds weights {newest[:2]} and was offered the older {name[:2]}"
            )
        self._receiver.check(weights)
        self._weights[name] = weights
        while len(self._weights) > self._num_versions:
            self._weights.popitem(last=False)
        return name

    async def serve_greedy(self, program: Any = None) -> None:
        """Makes the greedy form of the policy, unless it is there.

        Args:
            program: Its program, if there is one.
        """
        if "greedy" not in self._served:
            self._served["greedy"] = self._policies.greedy(program)

    async def ping(self) -> None:
        """Answers once the server is up."""

    async def get_initial_state(self, batch_size: int) -> Any:
        """Returns the policy's initial state.

        Args:
            batch_size: Number of rows, B.

        Returns:
            Nest of arrays ``[B, ...]``.
        """
        return map_structure(np.asarray, self._policy.get_initial_state(batch_size))

    async def action(
        self,
        time_step: TimeStep,
        policy_state: Any,
        seed: np.ndarray,
        served: ServedPolicy = "collect",
        weights: ServedWeights | None = None,
    ) -> PolicyStep:
        """Returns the policy step for the rows of one collector.

        Args:
            time_step: Nest of arrays ``[B, ...]``.
            policy_state: Nest of arrays ``[B, ...]``.
            seed: int32 ``[B, 2]``.
            served: The policy that acts.
            weights: The weights that it acts by; None for those that it has.

        Returns:
            Policy step, a nest of arrays ``[B, ...]``.

        Raises:
            StaleWeightsError: If the greedy policy is to act by weights that are not held any more. A rollout goes on
                by others: weights are held for longer than an update may learn from what they collect.
            Exception: Whatever the policy raises.
        """
        loop = asyncio.get_running_loop()
        request = _Request(time_step, policy_state, seed, served, weights, time.perf_counter(), loop.create_future())
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
        """Answers all waiting calls, those by the same policy and weights with one call of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        requests, self._waiting, self._num_rows = self._waiting, [], 0
        alike: dict[tuple[ServedPolicy, ServedWeights | None], list[_Request]] = {}
        for request in requests:
            alike.setdefault((request.served, request.weights), []).append(request)
        for those in alike.values():
            self._answer_alike(those)

    def _answer_alike(self, requests: Sequence[_Request]) -> None:
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

        served, weights = requests[0].served, requests[0].weights
        if weights is not None:
            self._act_by(weights, served)
        step = self._served[served].action(
            map_structure(joined, *[request.time_step for request in requests]),
            map_structure(joined, *[request.policy_state for request in requests]),
            joined(*[request.seed for request in requests]),
        )
        ends = np.cumsum(sizes)
        return [
            map_structure(lambda leaf, rows=slice(end - size, end): np.asarray(leaf)[rows], step)
            for size, end in zip(sizes, ends, strict=True)
        ]

    def _act_by(self, name: ServedWeights, served: ServedPolicy) -> None:
        """Gives a policy these weights, unless it acted by them last, or no update can learn from what they collect."""
        if (name, served) == self._acting:
            return
        if self._weights and served == "collect" and name < next(iter(self._weights)):
            # No update takes a rollout that is so old. An error would leave its collector in the middle of a step.
            return
        if name not in self._weights:
            raise StaleWeightsError(f"the inference server holds no weights {name[:2]} any more")
        # The greedy form may share the variables of the other, or have its own, as one by TensorFlow beside a program.
        self._served[served].update(self._weights[name])
        self._acting = name, served
