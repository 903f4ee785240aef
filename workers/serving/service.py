"""PolicyService: answers requests by a policy. The servers of HTTP and gRPC pass requests to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from distpolicy.errors import SpecMismatchError
from distpolicy.serving.messages import ActReply, ActRequest, Kind, ServingError
from distpolicy.utils.nests.array_nest import flatten, leaf_places, packer
from workers.serving.batcher import Batcher, batch_sizes
from workers.serving.rows import RequestReader, Rows
from workers.serving.sessions import SessionStore

StateKeeper = Literal["server", "client"]


@dataclass(frozen=True)
class ServiceConfig:
    """The settings of a service.

    Attributes:
        state: Who keeps the state of a recurrent policy between requests.
        max_batch: The most rows of a batch, and of a request.
        max_waiting: The most rows that wait for a batch.
        max_sessions: The most sessions; one with a batch counts as one for each row.
        session_idle_s: Seconds after which a session that nobody uses ends.
        check_bounds: Whether observations must lie within their specs' bounds.
        seed: Seed of the draws of requests without a seed; None for a random one.
    """

    state: StateKeeper = "server"
    max_batch: int = 64
    max_waiting: int = 4096
    max_sessions: int = 10_000
    session_idle_s: float = 600.0
    check_bounds: bool = True
    seed: int | None = None


class PolicyService:
    """Validates requests, gathers them to batches, and keeps the states of sessions.

    It belongs to one event loop.

    Args:
        policy: A policy that acts on batches of arrays, such as ``PyTFEagerPolicy(..., batch_time_steps=False)``.
        config: The settings.
        replica: The replica's name, for the names of sessions.
        version: The version of the policy's weights.
        on_batch: Is told the number of rows and the seconds of each batch, in the event loop.

    Attributes:
        policy: The policy.
        config: The settings.
        sessions: The sessions.
        version: The version of the weights that the policy acts by.
    """

    def __init__(
        self,
        policy: Any,
        config: ServiceConfig,
        replica: str = "0",
        version: int = -1,
        on_batch: Callable[[int, float], None] = lambda num_rows, seconds: None,
    ) -> None:
        self.policy, self.config, self.version = policy, config, version
        self.sessions = SessionStore(replica, config.max_sessions, config.session_idle_s)
        state_spec = policy.policy_state_spec
        self.has_state = bool(flatten(state_spec))
        self._reader = RequestReader(policy.time_step_spec, state_spec, config.max_batch, config.check_bounds)
        specs = flatten((policy.time_step_spec, state_spec))
        self._pack_inputs = packer(leaf_places((policy.time_step_spec, state_spec)))
        self._initial_state = _initial_state(policy)
        self._pack_action, self._pack_state, self._pack_info = (
            packer(leaf_places(spec)) for spec in (policy.action_spec, state_spec, policy.info_spec)
        )
        self._num_action, self._num_state = len(flatten(policy.action_spec)), len(flatten(state_spec))
        self._has_info = bool(flatten(policy.info_spec))
        self._inputs = [(tuple(spec.shape), spec.dtype) for spec in specs]
        self._batcher = Batcher(
            self._compute,
            self._inputs,
            config.max_batch,
            config.max_waiting,
            config.seed,
            on_batch,
        )
        self._batcher.warm_up()

    @property
    def keeps_sessions(self) -> bool:
        """Whether states of episodes are kept here: the policy has a state, and clients do not keep it."""
        return self.has_state and self.config.state == "server"

    async def act(self, request: ActRequest) -> ActReply:
        """Returns the actions for a request.

        Raises:
            ServingError: If it is refused.
        """
        self._check_keeper(request)
        rows = self._reader(request)
        if not self.has_state:
            outputs, start, stop = await self._submit(rows, [], request, continues=True)
            return self._reply(outputs, start, stop, rows)
        if self.config.state == "client":
            given = self._initial_state if rows.state is None else rows.state
            outputs, start, stop = await self._submit(rows, given, request, continues=rows.state is not None)
            reply = self._reply(outputs, start, stop, rows)
            reply.state = self._pack_state(_cut(self._states(outputs), start, stop, rows.is_batch))
            return reply
        if request.session is None:
            self.sessions.check_room(rows.num)
            outputs, start, stop = await self._submit(rows, self._initial_state, request, continues=False)
            reply = self._reply(outputs, start, stop, rows)
            session = self.sessions.begin(rows.num, rows.is_batch, self._new_state(outputs, start, stop))
        else:
            session = self.sessions.use(request.session, rows.num, rows.is_batch)
            new_state = None
            try:
                outputs, start, stop = await self._submit(rows, session.state, request, continues=True)
                reply = self._reply(outputs, start, stop, rows)
                new_state = self._new_state(outputs, start, stop)
            finally:
                self.sessions.release(session, new_state)
        reply.session = session.name
        return reply

    @property
    def busy_s(self) -> float:
        """Seconds since the batch that is computed in the thread began; 0 if there is none."""
        return self._batcher.busy_s

    def try_out(self, policy: Any) -> None:
        """Computes a batch of each size by a policy that may follow. The first batches of a policy take long.

        Call this in another thread than the event loop's. Whatever the policy raises is passed on.

        Raises:
            SpecMismatchError: If its specs are not those of the policy that is served.
        """
        for name in ("time_step_spec", "action_spec", "policy_state_spec", "info_spec"):
            if getattr(policy, name) != getattr(self.policy, name):
                raise SpecMismatchError(f"the {name} differs from the one of the policy that is served")
        for size in batch_sizes(self.config.max_batch):
            leaves = [np.zeros((size, *shape), dtype) for shape, dtype in self._inputs]
            time_step, state = self._pack_inputs(leaves)
            policy.action(time_step, state, np.zeros((size, 2), np.int32))

    def update(self, change: Callable[[], None], version: int) -> None:
        """Changes the policy between two batches. Requests under way are answered. Call this in the event loop.

        Args:
            change: Changes the policy.
            version: The version of its weights after that.
        """

        def apply() -> None:
            change()
            self.version = version
            self._initial_state = _initial_state(self.policy)

        self._batcher.between_batches(apply)

    def close(self) -> None:
        """Ends the thread that computes batches."""
        self._batcher.close()

    def _check_keeper(self, request: ActRequest) -> None:
        """Checks that a request has a state or a session only if that is what the server wants."""
        if not self.has_state:
            if request.session is not None or request.state is not None:
                given = "session" if request.session is not None else "state"
                raise ServingError(f"this policy has no state: leave out {given}")
        elif self.config.state == "client":
            if request.session is not None:
                raise ServingError("this server keeps no sessions (--state client): send the last reply's state")
        elif request.state is not None:
            raise ServingError("this server keeps the state (--state server): send the last reply's session")
        if request.session is not None and not isinstance(request.session, str):
            raise ServingError("session: expected a text")

    def _submit(self, rows: Rows, state: list[np.ndarray], request: ActRequest, continues: bool) -> Any:
        seed = request.seed
        if seed is not None and (type(seed) is not int or seed < 0):
            raise ServingError("seed: expected an integer of 0 or more")
        step_type = self._reader.step_types(rows, continues)
        leaves = [step_type, *rows.reward, rows.discount, *rows.observation, *state]
        return self._batcher.submit(rows.num, leaves, seed)

    def _compute(self, leaves: Any, seeds: np.ndarray) -> list[np.ndarray]:
        time_step, state = self._pack_inputs(leaves)
        step = self.policy.action(time_step, state, seeds)
        # The version, too: it may be another one before the replies are made.
        return [*(np.asarray(leaf) for leaf in flatten(step)), np.full(len(seeds), self.version)]

    def _states(self, outputs: Any) -> Any:
        return outputs[self._num_action : self._num_action + self._num_state]

    def _new_state(self, outputs: Any, start: int, stop: int) -> list[np.ndarray]:
        # Copies: a view would keep the whole batch's memory.
        return [leaf[start:stop].copy() for leaf in self._states(outputs)]

    def _reply(self, outputs: Any, start: int, stop: int, rows: Rows) -> ActReply:
        action = _cut(outputs[: self._num_action], start, stop, rows.is_batch)
        for leaf in action:
            if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
                raise ServingError("the policy's action is NaN or infinite, and so may be its weights", Kind.FAILED)
        reply = ActReply(self._pack_action(action), int(outputs[-1][start]))
        if self._has_info:
            info = outputs[self._num_action + self._num_state : -1]
            reply.info = self._pack_info(_cut(info, start, stop, rows.is_batch))
        return reply


def _initial_state(policy: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in flatten(policy.get_initial_state(1))]


def _cut(leaves: Any, start: int, stop: int, is_batch: bool) -> list[np.ndarray]:
    return [leaf[start:stop] if is_batch else leaf[start] for leaf in leaves]
