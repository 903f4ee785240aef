"""HttpApp: the HTTP interface of a served policy, as an ASGI application."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from distpolicy.serving.documents import FORMS, JSON
from distpolicy.serving.messages import ActRequest, Kind, ServingError, failure
from workers.serving.frontend import FORWARDED_HEADER, Frontend

_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]

_AUTHORIZATION, _CONTENT_TYPE, _ACCEPT = b"authorization", b"content-type", b"accept"
_CONTENT_LENGTH, _FORWARDED = b"content-length", FORWARDED_HEADER.encode()
_JSON = JSON.encode()
_SESSIONS, _HEALTH = "/v1/sessions/", "/healthz"


class HttpApp:
    """Answers ``/v1/act``, ``/v1/sessions/NAME``, ``/v1/policy``, ``/healthz``, ``/openapi.json`` and ``/docs``.

    Args:
        frontend: Answers the requests.
        pages: The content type and the body of each page by its path.
        max_body_bytes: The most bytes of a request.
    """

    def __init__(self, frontend: Frontend, pages: Mapping[str, tuple[str, bytes]], max_body_bytes: int) -> None:
        self._frontend, self._pages, self._max_body_bytes = frontend, dict(pages), max_body_bytes

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served")
        headers = dict(scope["headers"])
        given = headers.get(_CONTENT_TYPE, _JSON).decode("latin-1").partition(";")[0].strip().lower()
        wants = _wanted(headers.get(_ACCEPT, b""), given)
        status = 200
        start = time.perf_counter()
        try:
            if scope["path"] != _HEALTH:
                # Before the body is read: others may not make the server take it.
                self._frontend.check_token(_text(headers.get(_AUTHORIZATION)))
            body = await self._read(headers, receive)
            start = time.perf_counter()
            content_type, answer = await self._answer(scope["method"], scope["path"], headers, body, given, wants)
        except Exception as error:  # One bad request must not end the connection without an answer.
            told = error if isinstance(error, ServingError) else failure(error)
            status, content_type = told.kind.http_status, wants
            # It may name a part of the request that is not valid Unicode.
            answer = FORMS[wants].encode({"error": str(told).encode("utf-8", "replace").decode()})
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (_CONTENT_TYPE, content_type.encode()),
                    (_CONTENT_LENGTH, str(len(answer)).encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer})
        self._frontend.answered("http", status, start)

    async def _read(self, headers: Mapping[bytes, bytes], receive: _Receive) -> bytes:
        length = headers.get(_CONTENT_LENGTH, b"0")
        if len(length) > 15 or int(length) > self._max_body_bytes:
            raise self._too_large()
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body
        parts = [body]
        size = len(body)
        while message.get("more_body"):
            message = await receive()
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > self._max_body_bytes:
                raise self._too_large()
        return b"".join(parts)

    def _too_large(self) -> ServingError:
        return ServingError(f"a request may have at most {self._max_body_bytes} bytes", Kind.TOO_LARGE)

    async def _answer(
        self, method: str, path: str, headers: Mapping[bytes, bytes], body: bytes, given: str, wants: str
    ) -> tuple[str, bytes]:
        token = _text(headers.get(_AUTHORIZATION))
        if path == _HEALTH:
            return JSON, b'{"status":"ok"}'
        if path == "/v1/act":
            _check_method(method, "POST", path)
            if given not in FORMS:
                raise ServingError(f"unknown content-type {given[:100]}; there are {', '.join(FORMS)}")
            request = ActRequest.from_fields(FORMS[given].decode(body))
            reply = await self._frontend.act(request, token, _FORWARDED in headers)
            return wants, FORMS[wants].encode(reply.fields())
        if path in self._pages:
            if method != "HEAD":  # Its body is left out by the server.
                _check_method(method, "GET", path)
            return self._pages[path]
        if path.startswith(_SESSIONS):
            _check_method(method, "DELETE", path)
            await self._frontend.end_session(path[len(_SESSIONS) :], token, _FORWARDED in headers)
            return wants, FORMS[wants].encode({})
        raise ServingError(f"there is nothing at {path[:100]}; see /docs", Kind.NOT_FOUND)


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")


def _wanted(accept: bytes, given: str) -> str:
    """Returns the form of the answer: the one that is asked for, or else the request's own."""
    forms = [form for form in FORMS if form.encode() in accept.lower()] if accept else []
    if len(forms) == 1:
        return forms[0]
    return given if given in FORMS else JSON


def _check_method(method: str, expected: str, path: str) -> None:
    if method != expected:
        raise ServingError(f"{path[:100]} takes {expected}, not {method}", Kind.NOT_ALLOWED)
