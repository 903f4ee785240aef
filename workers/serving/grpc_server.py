"""The gRPC interface of a served policy, for grpc.aio."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError

from distpolicy.serving import protobuf_messages as messages
from distpolicy.serving.messages import ActReply, ActRequest, ServingError
from workers.serving.frontend import Frontend

_HEALTH = "grpc.health.v1.Health"
# A HealthCheckResponse with the status SERVING.
_SERVING = b"\x08\x01"
# gRPC refuses headers that are much longer, and an error's text is one.
_MAX_TEXT_LENGTH = 500


def grpc_handlers(frontend: Frontend) -> tuple[Any, ...]:
    """Returns the generic handlers of ``distpolicy.v1.Policy`` and of the standard health check.

    Args:
        frontend: Answers the requests.
    """
    import grpc

    methods = _Methods(frontend)
    served = {
        "Act": (methods.act, messages.ActRequestMessage, messages.ActReplyMessage),
        "EndSession": (methods.end, messages.EndSessionRequestMessage, messages.EndSessionReplyMessage),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(methods.answering(function, request), None, reply.SerializeToString)
        for name, (function, request, reply) in served.items()
    }
    # Anyone may ask for the health. As a stream the request is not taken.
    health = {"Check": grpc.stream_unary_rpc_method_handler(_check_health)}
    return (
        _WithToken(frontend, grpc.method_handlers_generic_handler(messages.SERVICE, handlers)),
        grpc.method_handlers_generic_handler(_HEALTH, health),
    )


class _WithToken:
    """Serves the methods of another handler to those who have the token.

    gRPC looks for a method when a call's headers have come, and takes the message afterwards. A call without the token
    gets a method that takes a stream of messages and reads none of them. gRPC's transport has no earlier check: it
    receives what fits into its window of the call, 64 kB at first and more on fast connections, and drops that.
    """

    def __init__(self, frontend: Frontend, handler: Any) -> None:
        self._frontend, self._handler = frontend, handler

    def service(self, handler_call_details: Any) -> Any:
        """Returns the method for a call; None if this is not one of the handler's methods."""
        import grpc

        method = self._handler.service(handler_call_details)
        if method is None:
            return None
        try:
            self._frontend.check_token(_token(handler_call_details.invocation_metadata))
        except ServingError as error:
            return grpc.stream_unary_rpc_method_handler(self._refusing(error))
        return method

    def _refusing(self, error: ServingError) -> Callable[..., Awaitable[Any]]:
        async def refuse(requests: Any, context: Any) -> Any:
            await _abort(self._frontend, context, error, time.perf_counter())

        return refuse


class _Methods:
    """What answers the methods of the policy."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        policy = frontend.service.policy
        self._observation_spec = policy.time_step_spec.observation
        self._state_spec = policy.policy_state_spec

    def answering(
        self, function: Callable[[Any, str | None], Awaitable[Any]], message: Any
    ) -> Callable[..., Awaitable[Any]]:
        """Returns a method's handler, which reads the message and turns errors into statuses."""

        async def answer(data: bytes, context: Any) -> Any:
            start = time.perf_counter()
            try:
                reply = await function(_read(message, data), _token(context.invocation_metadata()))
            except Exception as error:  # gRPC would tell the client no more than the class.
                await _abort(self._frontend, context, self._frontend.refusal(error), start)
            self._frontend.answered("grpc", 200, start)
            return reply

        return answer

    async def act(self, message: Any, token: str | None) -> Any:
        """Returns the actions for a request."""
        request = ActRequest(
            observation=messages.nest_of(message.observation, self._observation_spec, "observation"),
            seed=message.seed if message.HasField("seed") else None,
            session=message.session if message.HasField("session") else None,
        )
        if message.state:
            request.state = messages.nest_of(message.state, self._state_spec, "state")
        for name in ("first", "reward", "discount"):
            if message.HasField(name):
                setattr(request, name, messages.from_array(getattr(message, name)))
        return _as_message(await self._frontend.act(request, token))

    async def end(self, message: Any, token: str | None) -> Any:
        """Ends a session."""
        await self._frontend.end_session(message.session, token)
        return messages.EndSessionReplyMessage()


async def _abort(frontend: Frontend, context: Any, error: ServingError, start: float) -> None:
    """Answers a call by an error. Raises gRPC's own."""
    import grpc

    frontend.answered("grpc", error.kind.http_status, start)
    # It may name a part of the request that is not valid Unicode.
    text = str(error)[:_MAX_TEXT_LENGTH].encode("utf-8", "replace").decode()
    await context.abort(grpc.StatusCode[error.kind.grpc_status], text)


def _token(metadata: Any) -> str | None:
    """Returns the value of a call's header ``authorization``."""
    return dict(metadata or ()).get("authorization")


def _read(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError:
        raise ServingError(f"the request is not a {message.DESCRIPTOR.full_name}") from None


def _as_message(reply: ActReply) -> Any:
    message = messages.ActReplyMessage(action=messages.arrays_of(reply.action), version=reply.version)
    if reply.info is not None:
        message.info.extend(messages.arrays_of(reply.info))
    if reply.state is not None:
        message.state.extend(messages.arrays_of(reply.state))
    if reply.session is not None:
        message.session = reply.session
    return message


async def _check_health(requests: Any, context: Any) -> bytes:
    return _SERVING
