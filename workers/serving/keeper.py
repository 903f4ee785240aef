"""PolicyKeeper: holds what replicas serve, and knows where they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from distpolicy.policies.policy_program import PolicyProgram

# Ray's namespace of the actors' names.
NAMESPACE = "distpolicy"

# Replicas check in every second.
_GONE_S = 30.0
_YOUNG_S = 5.0


@dataclass(frozen=True)
class ServedPolicy:
    """A policy as it is sent to replicas.

    Attributes:
        version: The version of its weights: the train step at which it was saved, or its number if that is not known.
        program: The policy as a program; None if it acts in TensorFlow.
        files: The files of its SavedModel, if it acts in TensorFlow.
        note: Why it acts in TensorFlow; empty if it does not.
        number: How many policies came before it.
    """

    version: int
    program: PolicyProgram | None
    files: Mapping[str, bytes]
    note: str
    number: int = 0


class PolicyKeeper:
    """Holds the newest policy for replicas that start, restart or follow a run. It needs no TensorFlow.

    Ray starts it again if its process dies. It is empty then, until the driver gives it the policy and the replicas
    tell their addresses, which they do every second.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._start_s = clock, clock()
        self._policy: ServedPolicy | None = None
        # For each replica its address, and when it was told.
        self._addresses: dict[str, tuple[str, float]] = {}
        # Also of replicas that have ended.
        self._num_actions: dict[str, int] = {}

    def put(self, policy: ServedPolicy) -> None:
        """Keeps a policy in place of the one before."""
        self._policy = policy

    def newest(self) -> ServedPolicy | None:
        """Returns the policy; None if there is none."""
        return self._policy

    def number(self) -> int:
        """Returns the number of the policy; -1 if there is none."""
        return -1 if self._policy is None else self._policy.number

    def check_in(self, replica: str, address: str, number: int, num_actions: int) -> ServedPolicy | None:
        """Notes where a replica is. Returns the policy if its number is above the replica's.

        Args:
            replica: The replica's name.
            address: ``HOST:PORT`` at which it takes requests for its sessions.
            number: The number of the policy that it has.
            num_actions: Number of actions that it has computed.
        """
        now = self._clock()
        self._addresses[replica] = address, now
        self._num_actions[replica] = num_actions
        # Replicas that have ended tell nobody. Another program may get their ports.
        self._addresses = {name: told for name, told in self._addresses.items() if now - told[1] < _GONE_S}
        return self._policy if self._policy is not None and self._policy.number > number else None

    def leave(self, replica: str, num_actions: int) -> None:
        """Notes that a replica has ended.

        Args:
            replica: The replica's name.
            num_actions: Number of actions that it has computed.
        """
        self._addresses.pop(replica, None)
        self._num_actions[replica] = num_actions

    def totals(self) -> tuple[int, int]:
        """Returns the number of replicas that have not ended, and of the actions that all have computed."""
        return len(self._addresses), sum(self._num_actions.values())

    def address_of(self, replica: str) -> str | None:
        """Returns a replica's address; None if there is no such replica, or it has ended.

        Raises:
            LookupError: If the keeper has just started, so that the replica may not have told its address yet.
        """
        address, told_s = self._addresses.get(replica, (None, 0.0))
        now = self._clock()
        if address is None and now - self._start_s < _YOUNG_S:
            raise LookupError(f"replica {replica} has not told its address yet")
        return address if now - told_s < _GONE_S else None
