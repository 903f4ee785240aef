"""PolicyKeeper: holds what replicas serve, and knows where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distpolicy.policies.policy_program import PolicyProgram

# Of the actors' names.
NAMESPACE = "distpolicy"


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
    tell their addresses, which they do all the time.
    """

    def __init__(self) -> None:
        self._policy: ServedPolicy | None = None
        self._addresses: dict[str, str] = {}

    def put(self, policy: ServedPolicy) -> None:
        """Keeps a policy in place of the one before."""
        self._policy = policy

    def newest(self) -> ServedPolicy | None:
        """Returns the policy; None if there is none."""
        return self._policy

    def number(self) -> int:
        """Returns the number of the policy; -1 if there is none."""
        return -1 if self._policy is None else self._policy.number

    def check_in(self, replica: str, address: str, number: int) -> ServedPolicy | None:
        """Notes where a replica is. Returns the policy if its number is above the replica's.

        Args:
            replica: The replica's name.
            address: ``HOST:PORT`` at which it takes requests for its sessions.
            number: The number of the policy that it has.
        """
        self._addresses[replica] = address
        return self._policy if self._policy is not None and self._policy.number > number else None

    def address_of(self, replica: str) -> str | None:
        """Returns a replica's address; None if there is none of this name."""
        return self._addresses.get(replica)
