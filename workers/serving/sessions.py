"""SessionStore: the states of recurrent policies that a replica keeps between requests."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distpolicy.serving.messages import Kind, ServingError

# Names are 25 characters long.
MAX_NAME_LENGTH = 80


@dataclass(slots=True)
class Session:
    """An episode, or a batch of them, that a client plays.

    Attributes:
        name: Its name, which begins with the replica's.
        num: Number of rows.
        is_batch: Whether its requests have a batch dimension.
        state: For each leaf of the policy's state an array ``[num, ...]``.
        used_s: When it was last used.
        is_busy: Whether a request is under way.
    """

    name: str
    num: int
    is_batch: bool
    state: list[np.ndarray]
    used_s: float
    is_busy: bool = False


class SessionStore:
    """Keeps sessions until they are ended, or nobody has used them for a while.

    Args:
        replica: The replica's name; sessions' names begin with it.
        max_sessions: The most sessions at a time; further ones are refused. One with a batch counts as one for each
            row, which is what bounds the memory.
        idle_s: Seconds after which a session that nobody uses ends.
        clock: Returns seconds.
    """

    def __init__(
        self, replica: str, max_sessions: int, idle_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._replica, self._max_sessions, self._idle_s, self._clock = replica, max_sessions, idle_s, clock
        # The longest unused first.
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._num_rows = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def check_room(self, num: int) -> None:
        """Ends sessions that nobody uses, and checks that there is room for one more.

        Args:
            num: Its number of rows.

        Raises:
            ServingError: If there is not.
        """
        self.expire()
        if self._num_rows + num > self._max_sessions:
            raise ServingError(
                f"{self._num_rows} of {self._max_sessions} sessions are in use, and {num} more asked for: end some "
                f"(DELETE /v1/sessions/NAME), wait until they expire after {self._idle_s:g} s, or serve with a larger "
                "--max-sessions",
                Kind.BUSY,
            )

    def begin(self, num: int, is_batch: bool, state: list[np.ndarray]) -> Session:
        """Returns a new session.

        Raises:
            ServingError: If there is no room for it.
        """
        self.check_room(num)
        self._num_rows += num
        name = f"{self._replica}-{secrets.token_urlsafe(12)}"
        session = self._sessions[name] = Session(name, num, is_batch, state, self._clock())
        return session

    def use(self, name: str, num: int, is_batch: bool) -> Session:
        """Returns a session for a request with this number of rows, and marks it as busy.

        Raises:
            ServingError: If there is no such session, it has another number of rows, or a request is under way.
        """
        self.expire()
        session = self._sessions.get(name)
        if session is None:
            raise ServingError(self._unknown(name), Kind.NOT_FOUND)
        if session.is_busy:
            raise ServingError(f"session {name} has a request under way: send one after the other", Kind.CONFLICT)
        if (session.num, session.is_batch) != (num, is_batch):
            rows = f"a batch of {session.num}" if session.is_batch else "a single observation"
            raise ServingError(f"session {name} began with {rows}: send the same number of rows in every request")
        session.is_busy = True
        return session

    def release(self, session: Session, state: list[np.ndarray] | None) -> None:
        """Ends the use of a session.

        Args:
            session: The session.
            state: Its state from now on; None for the one before.
        """
        session.is_busy = False
        session.used_s = self._clock()
        if state is not None:
            session.state = state
        if session.name in self._sessions:
            self._sessions.move_to_end(session.name)

    def end(self, name: str) -> None:
        """Ends a session.

        Raises:
            ServingError: If there is no such session.
        """
        session = self._sessions.pop(name, None)
        if session is None:
            raise ServingError(self._unknown(name), Kind.NOT_FOUND)
        self._num_rows -= session.num

    def expire(self) -> None:
        """Ends the sessions that nobody has used for a while."""
        oldest = self._clock() - self._idle_s
        while self._sessions:
            session = next(iter(self._sessions.values()))
            if session.used_s > oldest:
                return
            if session.is_busy:
                self._sessions.move_to_end(session.name)
                session.used_s = self._clock()
            else:
                self.end(session.name)

    def _unknown(self, name: str) -> str:
        return (
            f"session {name[:MAX_NAME_LENGTH]} is not known: it was ended, was idle for {self._idle_s:g} s, or its "
            "replica was restarted; begin a new one by leaving out session"
        )


def replica_of(session: str) -> str:
    """Returns the name of the replica that keeps a session."""
    return session.partition("-")[0]
