"""The gRPC interface of a served policy, for grpc.aio."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError

from distpolicy.serving import protobuf_messages as messages
from distpolicy.serving.messages import ActReply, ActRequest, ServingError, failure
from workers.serving.frontend import Frontend

_HEALTH = "grpc.health.v1.Health"
# A HealthCheckResponse with the status SERVING.
_SERVING = b"\x08\x01"


def grpc_handlers(frontend: Frontend) -> tuple[Any, ...]:
    """Returns the generic handlers of ``distpolicy.v1.Policy`` and of the standard health check.

    Args:
        frontend: Answers the requests.
    """
    # Imported here: a service without gRPC does not need it.
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
    health = {"Check": grpc.unary_unary_rpc_method_handler(_check_health)}
    return (
        grpc.method_handlers_generic_handler(messages.SERVICE, handlers),
        grpc.method_handlers_generic_handler(_HEALTH, health),
    )


class _Methods:
    """What answers the methods of the policy."""

    def __init__(self, frontend: Frontend) -> None:
        import grpc

        self._statuses = grpc.StatusCode
        self._frontend = frontend
        policy = frontend.service.policy
        self._observation_spec = policy.time_step_spec.observation
        self._state_spec = policy.policy_state_spec

    def answering(
        self, function: Callable[[Any, str | None], Awaitable[Any]], message: Any
    ) -> Callable[..., Awaitable[Any]]:
        """Returns a method's handler, which checks the token, reads the message and turns errors into statuses."""

        async def answer(data: bytes, context: Any) -> Any:
            start = time.perf_counter()
            token = dict(context.invocation_metadata() or ()).get("authorization")
            try:
                self._frontend.check_token(token)
                reply = await function(_read(message, data), token)
            except Exception as error:  # gRPC would tell the client no more than the class.
                told = error if isinstance(error, ServingError) else failure(error)
                self._frontend.answered("grpc", told.kind.http_status, start)
                await context.abort(self._statuses[told.kind.grpc_status], str(told))
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


async def _check_health(request: bytes, context: Any) -> bytes:
    return _SERVING
