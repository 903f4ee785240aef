"""PolicyClient: asks a served policy for actions, over HTTP or gRPC."""

from __future__ import annotations

import http.client
import os
import selectors
import urllib.parse
from typing import Any, Protocol

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.serving.documents import FORMS, MSGPACK
from distpolicy.serving.messages import ActReply, ActRequest, Kind, ServingError
from distpolicy.utils.error_text import one_line
from distpolicy.utils.time_limits import time_limit

TOKEN_VARIABLE = "DISTPOLICY_TOKEN"


class PolicyClient:
    """Asks for actions, and takes care of sessions and states of recurrent policies.

    One client plays one episode after the other: after :meth:`reset` the next observation is the first of an episode.
    It is not for use in several threads at a time.

    Args:
        url: ``http://HOST:PORT`` or ``grpc://HOST:PORT``, as ``distpolicy serve`` prints them. The path of a
            proxy may follow.
        token: The token, if the server wants one; None for the variable ``DISTPOLICY_TOKEN``.
        timeout_s: Seconds within which an answer has to come.

    Raises:
        ConfigError: If the URL is of another kind, or ``timeout_s`` is not above 0.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https", "grpc") or not parts.netloc:
            raise ConfigError(f"{url!r} is not the address of a policy: give http://HOST:PORT or grpc://HOST:PORT")
        token = os.environ.get(TOKEN_VARIABLE) if token is None else token
        timeout_s = time_limit("timeout_s", timeout_s)
        headers = {} if not token else {"authorization": f"Bearer {token}"}
        self._wire: _Wire = (
            _Grpc(parts.netloc, headers, timeout_s)
            if parts.scheme == "grpc"
            else _Http(parts.netloc, parts.path.rstrip("/"), parts.scheme == "https", headers, timeout_s)
        )
        self._session: str | None = None
        self._state: Any = None

    def act(
        self,
        observation: Any,
        reward: Any = None,
        discount: Any = None,
        first: Any = None,
        seed: int | None = None,
    ) -> ActReply:
        """Returns the action for an observation, or the actions for a batch.

        Args:
            observation: Nest of arrays ``[...]``, or ``[B, ...]`` for a batch.
            reward: Reward of the last step, for policies that look at it.
            discount: Discount of the last step.
            first: Whether an episode begins: a bool, or bool ``[B]``. None: only after :meth:`reset`.
            seed: Seed of the draws of a policy that draws its actions.

        Raises:
            ServingError: If the server refuses the request.
            ConnectionError: If it does not answer.
        """
        request = ActRequest(observation, first, reward, discount, self._state, self._session, seed)
        reply = self._wire.act(request)
        self._session, self._state = reply.session, reply.state
        return reply

    def action(self, observation: Any, **arguments: Any) -> Any:
        """Returns the action alone; see :meth:`act`."""
        return self.act(observation, **arguments).action

    def reset(self) -> None:
        """Begins a new episode with the next observation.

        Raises:
            ConnectionError: If the server does not answer.
        """
        session, self._session, self._state = self._session, None, None
        if session is not None:
            try:
                self._wire.end_session(session)
            except ServingError as error:
                if error.kind is not Kind.NOT_FOUND:  # It has ended by itself.
                    raise

    def close(self) -> None:
        """Ends the session and the connection."""
        try:
            self.reset()
        except (ConnectionError, ServingError):
            pass  # The session expires.
        finally:
            self._wire.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Wire(Protocol):
    """A way to the server."""

    def act(self, request: ActRequest) -> ActReply: ...

    def end_session(self, session: str) -> None: ...

    def close(self) -> None: ...


class _Http:
    """A connection that is kept, with bodies in msgpack."""

    def __init__(self, address: str, prefix: str, is_secure: bool, headers: dict[str, str], timeout_s: float) -> None:
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        self._connection = kind(address, timeout=timeout_s)
        self._address, self._prefix = address, prefix
        self._headers = {**headers, "content-type": MSGPACK, "accept": MSGPACK}

    def act(self, request: ActRequest) -> ActReply:
        fields = {name: _as_arrays(value) for name, value in request.fields().items()}
        return ActReply.from_fields(self._ask("POST", "/v1/act", FORMS[MSGPACK].encode(fields)))

    def end_session(self, session: str) -> None:
        self._ask("DELETE", f"/v1/sessions/{urllib.parse.quote(session, safe='')}", None)

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        self._drop_if_closed()
        try:
            self._connection.request(method, self._prefix + path, body, self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ConnectionError(
                f"no answer from {self._address}: {one_line(error) or type(error).__name__}"
            ) from error
        if response.getheader("content-type") != MSGPACK:
            raise ConnectionError(
                f"{self._address} answers {response.status}, and is not a policy served by distpolicy"
            )
        answer = FORMS[MSGPACK].decode(content)
        if response.status != 200:
            kinds = {kind.http_status: kind for kind in Kind}
            raise ServingError(answer["error"], kinds.get(response.status, Kind.FAILED))
        return answer

    def _drop_if_closed(self) -> None:
        """Closes a connection that the server has closed since the last answer, so that the next request opens one.

        A request that is sent on it may not be sent again: the server may have computed it.
        """
        sock = self._connection.sock
        if sock is None:
            return
        with selectors.DefaultSelector() as waiting:
            waiting.register(sock, selectors.EVENT_READ)
            if waiting.select(0):  # Nothing is expected but its end.
                self._connection.close()


class _Grpc:
    """A channel of gRPC."""

    def __init__(self, address: str, headers: dict[str, str], timeout_s: float) -> None:
        # Imported here: clients over HTTP do not need it.
        import grpc

        from distpolicy.serving import protobuf_messages

        self._grpc, self._messages = grpc, protobuf_messages
        self._address, self._timeout_s, self._metadata = address, timeout_s, tuple(headers.items())
        self._channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)])
        self._methods = {
            name: self._channel.unary_unary(
                f"/{protobuf_messages.SERVICE}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=protobuf_messages.message_class(answer).FromString,
            )
            for name, (_, answer) in protobuf_messages.METHODS.items()
        }

    def act(self, request: ActRequest) -> ActReply:
        messages = self._messages
        message = messages.ActRequestMessage(
            observation=messages.arrays_of(request.observation), seed=request.seed, session=request.session
        )
        if request.state is not None:
            message.state.extend(messages.arrays_of(request.state))
        for name in ("first", "reward", "discount"):
            if (value := getattr(request, name)) is not None:
                getattr(message, name).CopyFrom(messages.array_of(value))
        reply = self._ask("Act", message)
        return ActReply(
            messages.nest_by_paths(reply.action),
            reply.version,
            messages.nest_by_paths(reply.info) if reply.info else None,
            messages.nest_by_paths(reply.state) if reply.state else None,
            reply.session if reply.HasField("session") else None,
        )

    def end_session(self, session: str) -> None:
        self._ask("EndSession", self._messages.EndSessionRequestMessage(session=session))

    def close(self) -> None:
        self._channel.close()

    def _ask(self, name: str, message: Any) -> Any:
        try:
            return self._methods[name](message, timeout=self._timeout_s, metadata=self._metadata)
        except self._grpc.RpcError as error:
            kinds = {kind.grpc_status: kind for kind in Kind}
            kind = kinds.get(error.code().name)
            if kind is None:
                raise ConnectionError(f"no answer from {self._address}: {error.details()}") from error
            raise ServingError(error.details(), kind) from error


def _as_arrays(value: Any) -> Any:
    """Returns a nest with its leaves as arrays, for their bytes to be sent."""
    if isinstance(value, dict):
        return {key: _as_arrays(child) for key, child in value.items()}
    # A list of numbers is an array, while the reply's nests have lists where the specs have tuples.
    if isinstance(value, tuple) or (isinstance(value, list) and any(isinstance(item, _NESTS) for item in value)):
        return [_as_arrays(child) for child in value]
    return np.asarray(value) if isinstance(value, list | float) else value


_NESTS = (np.ndarray, dict, tuple)
