"""Frontend: what a replica's servers of HTTP and gRPC share: the token, and the way to sessions of other replicas."""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from distpolicy.serving.documents import FORMS, MSGPACK
from distpolicy.serving.messages import ActReply, ActRequest, Kind, ServingError
from distpolicy.utils.error_text import one_line
from workers.serving.service import PolicyService
from workers.serving.sessions import replica_of

FORWARDED_HEADER = "x-distpolicy-forwarded"
_FORWARD_TIMEOUT_S = 30.0
_BEARER = "Bearer "


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
        address_of: Returns ``HOST:PORT`` of another replica by its name, or None if there is none. May raise
            ``ServingError``.
        observer: Is told of requests.
    """

    def __init__(
        self,
        service: PolicyService,
        replica: str,
        token_sha256: bytes | None,
        address_of: Callable[[str], Awaitable[str | None]],
        observer: Observer,
    ) -> None:
        self.service, self._replica, self._token_sha256 = service, replica, token_sha256
        self._address_of, self._observer = address_of, observer
        self._addresses: dict[str, str] = {}
        self._connections: Any = None

    def check_token(self, authorization: str | None) -> None:
        """Checks the value of the header ``authorization``.

        Raises:
            ServingError: If it does not have the token.
        """
        if self._token_sha256 is None:
            return
        given = "" if authorization is None else authorization
        token = given[len(_BEARER) :] if given.startswith(_BEARER) else ""
        # A comparison of sums takes the same time whatever is wrong.
        if not hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self._token_sha256):
            raise ServingError("a token is needed: send the header Authorization: Bearer TOKEN", Kind.UNAUTHENTICATED)

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
        return replica_of(session) != self._replica

    async def _forward(self, method: str, path: str, session: str, authorization: str | None, fields: Any) -> Any:
        """Returns what the replica that keeps a session answers."""
        # Imported here: most services never need it.
        import aiohttp

        if self._connections is None:
            self._connections = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_FORWARD_TIMEOUT_S))
        replica = replica_of(session)
        address = self._addresses.get(replica) or await self._address_of(replica)
        gone = ServingError(
            f"session {session[:80]} is not known: its replica was restarted; begin a new one by leaving out session",
            Kind.NOT_FOUND,
        )
        if address is None:
            raise gone
        self._addresses[replica] = address
        headers = {"content-type": MSGPACK, "accept": MSGPACK, FORWARDED_HEADER: self._replica}
        if authorization is not None:
            headers["authorization"] = authorization
        try:
            data = None if fields is None else FORMS[MSGPACK].encode(fields)
        except (TypeError, ValueError, OverflowError) as error:  # JSON has larger numbers, and broken Unicode.
            raise ServingError(f"the request has a value that no array holds: {one_line(error)}") from error
        try:
            async with self._connections.request(
                method, f"http://{address}{path}", data=data, headers=headers
            ) as response:
                answer = FORMS[MSGPACK].decode(await response.read())
        except TimeoutError as error:  # Before the next, since some are both.
            raise ServingError(f"the replica of session {session[:80]} does not answer", Kind.BUSY) from error
        except aiohttp.ClientError as error:
            self._addresses.pop(replica, None)
            raise gone from error
        if response.status >= 400:
            kinds = {kind.http_status: kind for kind in Kind}
            raise ServingError(answer["error"], kinds.get(response.status, Kind.FAILED))
        return answer
