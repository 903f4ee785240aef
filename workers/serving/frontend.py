"""Frontend: what a replica's servers of HTTP and gRPC share: the token, and the way to sessions of other replicas."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from distpolicy.serving.documents import FORMS, MSGPACK
from distpolicy.serving.messages import ActReply, ActRequest, Kind, ServingError
from distpolicy.utils.error_text import one_line
from workers.serving.service import PolicyService
from workers.serving.sessions import MAX_NAME_LENGTH, replica_of

FORWARDED_HEADER = "x-distpolicy-forwarded"
_FORWARD_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 5.0
# Another program may get the port of a replica that has ended. It must not be sent tokens for long.
_ADDRESSES_S = 10.0
# A policy may fail at every request.
_LOG_PERIOD_S = 1.0

_logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Is told of each request that was answered."""

    def on_request(self, protocol: str, status: int, seconds: float) -> None:
        """Notes a request.

        Args:
            protocol: ``http`` or ``grpc``.
            status: The status as in HTTP.
            seconds: Seconds from its last byte to the answer.
        """


class Frontend:
    """Answers requests by this replica's service, or sends them to the replica that keeps their session.

    Args:
        service: The service.
        replica: This replica's name.
        token_sha256: SHA-256 of the token that requests must have; None for none.
        forward_key: What replicas know each other by. Clients do not know it.
        address_of: Returns ``HOST:PORT`` of another replica by its name, or None if there is none. May raise
            ``ServingError``.
        observer: Is told of requests.

    Attributes:
        service: The service.
    """

    def __init__(
        self,
        service: PolicyService,
        replica: str,
        token_sha256: bytes | None,
        forward_key: str,
        address_of: Callable[[str], Awaitable[str | None]],
        observer: Observer,
    ) -> None:
        self.service, self._replica, self._token_sha256 = service, replica, token_sha256
        self._address_of, self._observer = address_of, observer
        self._forward_key = forward_key
        self._addresses: dict[str, str] = {}
        self._addresses_until_s = self._logged_s = 0.0
        self._connections: Any = None

    @property
    def needs_token(self) -> bool:
        """Whether requests need a token."""
        return self._token_sha256 is not None

    def check_token(self, authorization: str | None) -> None:
        """Checks the value of the header ``authorization``: ``Bearer TOKEN``, or Basic with the token as the password.

        Basic is for browsers, which ask their user for a password and can send no other header. A browser keeps it, but
        pages of other sites gain nothing by that: it does not let them read the answers, and sends DELETE and POST of
        the content types that are taken here only if this server allows it, which it never does.

        Raises:
            ServingError: If it does not have the token.
        """
        if self._token_sha256 is None:
            return
        token = _token_of("" if authorization is None else authorization)
        # A comparison of sums takes the same time whatever is wrong.
        if not hmac.compare_digest(hashlib.sha256(token).digest(), self._token_sha256):
            raise ServingError(
                "a token is needed: send the header Authorization: Bearer TOKEN; in Python, PolicyClient(token=...) "
                "or the variable DISTPOLICY_TOKEN",
                Kind.UNAUTHENTICATED,
            )

    def is_forwarded(self, header: str | None) -> bool:
        """Returns True if another replica has sent a request, by the value of its header.

        That replica has checked the request's size, and counts the request.
        """
        return header is not None and hmac.compare_digest(header.encode(), self._forward_key.encode())

    def refusal(self, error: Exception) -> ServingError:
        """Returns what a client is told of an error. A fault of the server itself is logged.

        Its text is only in the log: it may name files, or what other clients have sent.
        """
        told = error
        if not isinstance(told, ServingError):
            told = ServingError(f"the server failed: {type(error).__name__}; its log has the rest", Kind.FAILED)
        if told.kind is Kind.FAILED and time.monotonic() >= self._logged_s + _LOG_PERIOD_S:
            self._logged_s = time.monotonic()
            _logger.error("a request failed", exc_info=error)
        return told

    async def act(self, request: ActRequest, authorization: str | None, is_forwarded: bool = False) -> ActReply:
        """Returns the actions for a request.

        Args:
            request: The request.
            authorization: The value of its header.
            is_forwarded: Whether another replica has sent it.

        Raises:
            ServingError: If it is refused.
        """
        if self._is_elsewhere(request.session, is_forwarded):
            assert request.session is not None
            answer = await self._forward("POST", "/v1/act", request.session, authorization, request.fields())
            return ActReply.from_fields(answer)
        return await self.service.act(request)

    async def end_session(self, session: str, authorization: str | None, is_forwarded: bool = False) -> None:
        """Ends a session.

        Raises:
            ServingError: If there is no such session.
        """
        if self._is_elsewhere(session, is_forwarded):
            path = f"/v1/sessions/{urllib.parse.quote(session, safe='')}"
            await self._forward("DELETE", path, session, authorization, None)
            return
        self.service.sessions.end(session)

    def answered(self, protocol: str, status: int, start: float) -> None:
        """Tells the observer of a request.

        Args:
            protocol: ``http`` or ``grpc``.
            status: The status as in HTTP.
            start: ``time.perf_counter()`` when the request had come.
        """
        self._observer.on_request(protocol, status, time.perf_counter() - start)

    async def close(self) -> None:
        """Closes the connections to other replicas."""
        if self._connections is not None:
            await self._connections.close()

    def _is_elsewhere(self, session: Any, is_forwarded: bool) -> bool:
        if is_forwarded or not isinstance(session, str) or not self.service.keeps_sessions:
            return False
        if len(session) > MAX_NAME_LENGTH:
            return False  # No replica has named it so.
        return replica_of(session) != self._replica

    async def _forward(self, method: str, path: str, session: str, authorization: str | None, fields: Any) -> Any:
        """Returns what the replica that keeps a session answers."""
        # Imported here: most services never need it.
        import aiohttp

        if self._connections is None:
            timeout = aiohttp.ClientTimeout(_FORWARD_TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S)
            self._connections = aiohttp.ClientSession(timeout=timeout)
        replica = replica_of(session)
        gone = ServingError(
            f"session {session} is not known: its replica was restarted; begin a new one by leaving out session",
            Kind.NOT_FOUND,
        )
        address = await self._address(replica)
        if address is None:
            raise gone
        headers = {"content-type": MSGPACK, "accept": MSGPACK, FORWARDED_HEADER: self._forward_key}
        if authorization is not None:
            headers["authorization"] = authorization
        try:
            data = None if fields is None else FORMS[MSGPACK].encode(fields)
        except (TypeError, ValueError, OverflowError) as error:  # JSON has larger numbers, and broken Unicode.
            raise ServingError(f"the request has a value that no array holds: {one_line(error)}") from error
        try:
            async with self._connections.request(
                method, f"http://{address}{path}", data=data, headers=headers, allow_redirects=False
            ) as response:
                if response.content_type != MSGPACK:
                    raise gone  # Another program has the port.
                answer = FORMS[MSGPACK].decode(await response.read())
        except TimeoutError as error:  # Before the next, since some are both.
            self._addresses.pop(replica, None)
            raise ServingError(f"the replica of session {session} does not answer", Kind.BUSY) from error
        except aiohttp.ClientError as error:
            self._addresses.pop(replica, None)
            raise gone from error
        if response.status >= 400:
            kinds = {kind.http_status: kind for kind in Kind}
            raise ServingError(answer["error"], kinds.get(response.status, Kind.FAILED))
        return answer

    async def _address(self, replica: str) -> str | None:
        now = time.monotonic()
        if now > self._addresses_until_s:
            self._addresses.clear()
            self._addresses_until_s = now + _ADDRESSES_S
        address = self._addresses.get(replica) or await self._address_of(replica)
        if address is not None:
            self._addresses[replica] = address
        return address


def _token_of(authorization: str) -> bytes:
    """Returns the token in a header ``authorization``; empty if it has none."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.encode()
    if scheme.lower() != "basic":
        return b""
    try:
        # The user's name is before the first colon. Any will do.
        return base64.b64decode(given, validate=True).partition(b":")[2]
    except ValueError:
        return b""
