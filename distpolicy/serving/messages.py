"""The messages between a served policy and its clients, and the errors that it answers."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distpolicy.errors import DistPolicyError


class Kind(enum.Enum):
    """What is wrong with a request: the HTTP status, and the name of gRPC's status."""

    INVALID = (400, "INVALID_ARGUMENT")
    UNAUTHENTICATED = (401, "UNAUTHENTICATED")
    NOT_FOUND = (404, "NOT_FOUND")
    NOT_ALLOWED = (405, "UNIMPLEMENTED")
    CONFLICT = (409, "ABORTED")
    TOO_LARGE = (413, "OUT_OF_RANGE")
    BUSY = (503, "RESOURCE_EXHAUSTED")
    FAILED = (500, "INTERNAL")

    @property
    def http_status(self) -> int:
        """The status of an HTTP response."""
        return self.value[0]

    @property
    def grpc_status(self) -> str:
        """The name in ``grpc.StatusCode``."""
        return self.value[1]


class ServingError(DistPolicyError):
    """A request that is refused; the message says in one line what to change.

    Args:
        message: What is wrong.
        kind: What kind of fault it is.
    """

    def __init__(self, message: str, kind: Kind = Kind.INVALID) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class ActRequest:
    """A request for an action, or for the actions of a batch.

    Attributes:
        observation: Nest of arrays, or of lists of numbers: one observation ``[...]`` or a batch ``[B, ...]``.
        first: Whether this is the first step of an episode: a bool, or one for each row. None: at the beginning of a
            session or where no state is given.
        reward: Reward of the last step, for policies that look at it.
        discount: Discount of the last step.
        state: The state that the last reply had, if the client keeps it.
        session: The session that the last reply named, if the server keeps the state.
        seed: Seed of the draws of a policy that draws its actions; None for the server's own.
    """

    observation: Any = None
    first: Any = None
    reward: Any = None
    discount: Any = None
    state: Any = None
    session: str | None = None
    seed: int | None = None

    @classmethod
    def from_fields(cls, fields: Any) -> ActRequest:
        """Returns the request that a decoded JSON or msgpack document stands for.

        Raises:
            ServingError: If it is not an object with known fields.
        """
        if not isinstance(fields, dict):
            raise ServingError(f"expected an object with the field observation, got {type(fields).__name__}")
        if not fields.keys() <= FIELDS:
            unknown = next(str(name) for name in fields if name not in FIELDS)
            raise ServingError(f"unknown field {unknown[:100]!r}; there are {', '.join(sorted(FIELDS))}")
        if "observation" not in fields:
            raise ServingError("the field observation is missing")
        return cls(**fields)

    def fields(self) -> dict[str, Any]:
        """Returns the fields that are given, by name."""
        found = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in found.items() if value is not None}


FIELDS = frozenset(item.name for item in dataclasses.fields(ActRequest))


@dataclass(slots=True)
class ActReply:
    """The answer to a request for actions.

    Attributes:
        action: Nest of arrays like the policy's action spec, with a batch dimension if the request had one.
        version: The version of the weights that computed it: the train step at which the policy was saved, or, if that
            is not known, the number of policies before it.
        info: Nest of arrays of what the policy tells beside, such as log-probabilities; None if it tells nothing.
        state: The state to send with the next request; None if the server keeps it or there is none.
        session: The session to name in the next request; None without one.
    """

    action: Any
    version: int
    info: Any = None
    state: Any = None
    session: str | None = None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> ActReply:
        """Returns the reply that a decoded document stands for."""
        names = ("action", "version", "info", "state", "session")
        return cls(**{name: fields[name] for name in names if name in fields})

    def fields(self) -> dict[str, Any]:
        """Returns the fields that are given, by name."""
        found: dict[str, Any] = {"action": self.action, "version": self.version}
        for name in ("info", "state", "session"):
            value = getattr(self, name)
            if value is not None:
                found[name] = value
        return found
