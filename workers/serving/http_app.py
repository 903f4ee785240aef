"""HttpApp: the HTTP interface of a served policy, as an ASGI application."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from distpolicy.serving.documents import FORMS, JSON
from distpolicy.serving.messages import ActRequest, Kind, ServingError
from workers.serving.frontend import FORWARDED_HEADER, Frontend

_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]

_AUTHORIZATION, _CONTENT_TYPE, _ACCEPT = b"authorization", b"content-type", b"accept"
_CONTENT_LENGTH, _FORWARDED, _HOST = b"content-length", FORWARDED_HEADER.encode(), b"host"
_ACT, _SESSIONS, _HEALTH = "/v1/act", "/v1/sessions/", "/healthz"


class _ClientGoneError(Exception):
    """The client has closed the connection before its request was complete."""


class _TooSlowError(ServingError):
    """The body of a request did not come in time."""


class HttpApp:
    """Answers ``/v1/act``, ``/v1/sessions/NAME``, ``/v1/policy``, ``/healthz``, ``/openapi.json`` and ``/docs``.

    Args:
        frontend: Answers the requests.
        pages: The content type and the body of each page by its path.
        max_body_bytes: The most bytes of a request.
        body_timeout_s: Seconds within which the whole of a request has to come.
    """

    def __init__(
        self,
        frontend: Frontend,
        pages: Mapping[str, tuple[str, bytes]],
        max_body_bytes: int,
        body_timeout_s: float = 60.0,
    ) -> None:
        self._frontend, self._pages = frontend, dict(pages)
        self._max_body_bytes, self._body_timeout_s = max_body_bytes, body_timeout_s

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served")
        headers, method, path = dict(scope["headers"]), scope["method"], scope["path"]
        given = headers.get(_CONTENT_TYPE, b"").decode("latin-1").partition(";")[0].strip().lower()
        wants = _wanted(headers.get(_ACCEPT, b""), given)
        status, more_headers = 200, []
        token = _text(headers.get(_AUTHORIZATION))
        is_forwarded = self._frontend.is_forwarded(_text(headers.get(_FORWARDED)))
        start = time.perf_counter()
        try:
            if path != _HEALTH:
                self._check_client(token, headers.get(_HOST, b""))
            # After the check: others may not make the server take a body. What has none to be read is not read.
            body = await self._read(headers, receive, is_forwarded) if path == _ACT else b""
            start = time.perf_counter()
            content_type, answer = await self._answer(method, path, body, given, wants, token, is_forwarded)
        except _ClientGoneError:
            return
        except Exception as error:  # One bad request must not end the connection without an answer.
            told = self._frontend.refusal(error)
            status, content_type, more_headers = told.kind.http_status, wants, self._headers_of(told, path)
            # It may name a part of the request that is not valid Unicode.
            answer = FORMS[wants].encode({"error": str(told).encode("utf-8", "replace").decode()})
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (_CONTENT_TYPE, content_type.encode()),
                    (_CONTENT_LENGTH, str(len(answer)).encode()),
                    *more_headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer})
        if not is_forwarded:
            self._frontend.answered("http", status, start)

    def _check_client(self, token: str | None, host: bytes) -> None:
        self._frontend.check_token(token)
        if not self._frontend.needs_token and not _is_local_name(host):
            raise ServingError(
                "this server has no token: ask it by its IP address or as localhost, since pages of other sites could "
                "use any other name; or serve with --token-file",
                Kind.UNAUTHENTICATED,
            )

    async def _read(self, headers: Mapping[bytes, bytes], receive: _Receive, is_forwarded: bool) -> bytes:
        # The replica that forwards a request has checked its size. The form that it sends may be longer.
        limit = float("inf") if is_forwarded else self._max_body_bytes
        length = headers.get(_CONTENT_LENGTH, b"0")
        if len(length) > 15 or int(length) > limit:
            raise self._too_large()
        parts: list[bytes] = []
        size, has_more = 0, True
        try:
            async with asyncio.timeout(self._body_timeout_s):
                while has_more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _ClientGoneError
                    parts.append(message.get("body", b""))
                    size, has_more = size + len(parts[-1]), message.get("more_body", False)
                    if size > limit:
                        raise self._too_large()
        except TimeoutError:
            raise _TooSlowError(f"the body did not come within {self._body_timeout_s:g} s: send it at once") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> ServingError:
        return ServingError(f"a request may have at most {self._max_body_bytes} bytes", Kind.TOO_LARGE)

    async def _answer(
        self, method: str, path: str, body: bytes, given: str, wants: str, token: str | None, is_forwarded: bool
    ) -> tuple[str, bytes]:
        if path == _HEALTH:
            return JSON, b'{"status":"ok"}'
        expected = self._method_of(path)
        if expected is None:
            raise ServingError(f"there is nothing at {path[:100]}; see /docs", Kind.NOT_FOUND)
        # The body of an answer to HEAD is left out by the server.
        if method != expected and (method, expected) != ("HEAD", "GET"):
            raise ServingError(f"{path[:100]} takes {expected}, not {method}", Kind.NOT_ALLOWED)
        if path == _ACT:
            # A page of another site may send a body without a type, but not one with these types.
            if given not in FORMS:
                raise ServingError(f"unknown content-type {given[:100] or '(none)'}; there are {', '.join(FORMS)}")
            request = ActRequest.from_fields(FORMS[given].decode(body))
            reply = await self._frontend.act(request, token, is_forwarded)
            return wants, FORMS[wants].encode(reply.fields())
        if path in self._pages:
            return self._pages[path]
        await self._frontend.end_session(path[len(_SESSIONS) :], token, is_forwarded)
        return wants, FORMS[wants].encode({})

    def _method_of(self, path: str) -> str | None:
        """Returns the method that a path takes; None if there is nothing there."""
        if path == _ACT:
            return "POST"
        if path in self._pages:
            return "GET"
        return "DELETE" if path.startswith(_SESSIONS) else None

    def _headers_of(self, error: ServingError, path: str) -> list[tuple[bytes, bytes]]:
        """Returns the headers that HTTP asks for beside an error."""
        if error.kind is Kind.UNAUTHENTICATED:
            # Where there is a token, a browser asks for it as a password.
            schemes = [b"Bearer", *([b'Basic realm="distpolicy"'] if self._frontend.needs_token else [])]
            return [(b"www-authenticate", scheme) for scheme in schemes]
        if error.kind is Kind.NOT_ALLOWED:
            return [(b"allow", (self._method_of(path) or "").encode())]
        # The rest of the body may still come.
        return [(b"connection", b"close")] if isinstance(error, _TooSlowError) else []


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")


def _wanted(accept: bytes, given: str) -> str:
    """Returns the form of the answer: the one that is asked for, or else the request's own."""
    forms = [form for form in FORMS if form.encode() in accept.lower()] if accept else []
    if len(forms) == 1:
        return forms[0]
    return given if given in FORMS else JSON


@functools.lru_cache(64)
def _is_local_name(host: bytes) -> bool:
    """Returns True if a header ``host`` has an IP address or localhost.

    A page of another site may let its own name lead to this machine. A browser would then let it read the answers.
    """
    name = host.decode("latin-1").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name in ("", "localhost"):  # Browsers always send one.
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
