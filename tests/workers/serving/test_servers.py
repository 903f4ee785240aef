"""The servers of HTTP and gRPC, asked by real clients over real connections. No Ray."""

from __future__ import annotations

import base64
import html
import http.server
import json
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import msgpack
import numpy as np
import pytest
from summing_policy import SummingPolicy

from distpolicy.serving import PolicyClient, ServingError
from distpolicy.serving.messages import Kind
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.policy_step import PolicyInfo
from workers.serving.pages import describe, openapi
from workers.serving.service import PolicyService, ServiceConfig

PICTURE = np.zeros((2, 2), np.uint8)
TOKEN = "a-token-of-some-length"
Serve = Callable[..., Any]


def seen(*value: float) -> dict[str, Any]:
    return {"value": np.float32(value), "picture": PICTURE}


def ask(url: str, body: Any = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
    """Returns the status and the JSON of an answer."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, given, method=method), timeout=10) as answer:
            return answer.status, strictly(answer.read())
    except urllib.error.HTTPError as error:
        body = error.read()
        is_msgpack = error.headers["content-type"] == "application/msgpack"
        return error.code, msgpack.unpackb(body) if is_msgpack else strictly(body)


def strictly(body: bytes) -> Any:
    """Reads JSON as other languages do, which have no NaN in it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(body, parse_constant=refuse)


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_client_plays_an_episode_by_a_session(serve: Serve, way: str) -> None:
    served = serve()
    with PolicyClient(getattr(served, way)) as client:
        first = client.act(seen(1, 2))
        assert (first.version, first.info["steps"]) == (3, 1)
        assert first.action.dtype == np.float32
        np.testing.assert_array_equal(client.action(seen(10, 20)), [11, 22])
        assert len(served.service.sessions) == 1
        client.reset()
        assert len(served.service.sessions) == 0
        np.testing.assert_array_equal(client.action(seen(5, 5)), [5, 5])
        np.testing.assert_array_equal(client.action(seen(7, 7), first=True), [7, 7])
        np.testing.assert_array_equal(client.action(seen(1, 1)), [8, 8])
    assert len(served.service.sessions) == 0
    assert set(served.counted.statuses) == {(way, 200)}


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_client_keeps_the_state_where_the_server_does_not(serve: Serve, way: str) -> None:
    served = serve(state="client")
    # An answer may take as long as it likes.
    with PolicyClient(getattr(served, way), timeout_s=float("inf")) as client:
        client.act(seen(1, 2))
        reply = client.act(seen(10, 20))
        np.testing.assert_array_equal(reply.action, [11, 22])
        assert reply.session is None
        assert len(served.service.sessions) == 0
        client.reset()
        np.testing.assert_array_equal(client.action(seen(5, 5)), [5, 5])


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_batches_are_answered_row_by_row(serve: Serve, way: str) -> None:
    served = serve()
    batch = {"value": np.float32([[1, 1], [2, 2], [3, 3]]), "picture": np.stack([PICTURE] * 3)}
    with PolicyClient(getattr(served, way)) as client:
        client.act(batch)
        reply = client.act(batch, first=[False, True, False])
        np.testing.assert_array_equal(reply.action, [[2, 2], [2, 2], [6, 6]])
        np.testing.assert_array_equal(reply.info["steps"], [2, 1, 2])
        with pytest.raises(ServingError, match="began with a batch of 3"):
            client.act(seen(1, 1))


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_errors_are_one_line_with_their_kind(serve: Serve, way: str) -> None:
    served = serve()
    with PolicyClient(getattr(served, way)) as client:
        with pytest.raises(ServingError, match=r"^observation/value: NaN or infinite values$") as caught:
            client.act(seen(1, np.nan))
        assert caught.value.kind is Kind.INVALID
        with pytest.raises(ServingError, match="observation/picture: expected shape"):
            client.act({"value": np.float32([1, 2]), "picture": np.zeros((3, 2), np.uint8)})
        with pytest.raises(ServingError, match="observation/picture is missing"):
            client.act({"value": np.float32([1, 2])})
        with pytest.raises(ServingError, match="a batch of 9 rows") as caught:
            client.act({"value": np.zeros((9, 2)), "picture": np.zeros((9, 2, 2), np.uint8)})
        assert caught.value.kind is Kind.TOO_LARGE
        client._session = "a1-unknown"
        with pytest.raises(ServingError, match="session a1-unknown is not known") as caught:
            client.act(seen(1, 2))
        assert caught.value.kind is Kind.NOT_FOUND
    assert {status for _, status in served.counted.statuses} == {400, 404, 413}


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_a_token_is_needed_where_there_is_one(serve: Serve, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTPOLICY_TOKEN", raising=False)
    url = getattr(serve(token="a-token-of-some-length"), way)
    for wrong in (None, "a-token-of-some-lengtH"):
        with PolicyClient(url, wrong) as client, pytest.raises(ServingError, match="a token is needed") as caught:
            client.act(seen(1, 2))
        assert caught.value.kind is Kind.UNAUTHENTICATED
    monkeypatch.setenv("DISTPOLICY_TOKEN", "a-token-of-some-length")
    with PolicyClient(url) as client:
        np.testing.assert_array_equal(client.action(seen(1, 2)), [1, 2])


def test_every_page_but_the_health_check_needs_the_token(serve: Serve) -> None:
    url = serve(token="a-token-of-some-length").http
    assert ask(f"{url}/healthz") == (200, {"status": "ok"})
    for path in ("/v1/policy", "/openapi.json", "/docs", "/nothing", "/v1/act"):
        assert ask(url + path)[0] == 401
    assert ask(f"{url}/v1/policy", authorization="Bearer a-token-of-some-length")[1]["name"] == "summing"


def test_json_is_taken_as_people_write_it(serve: Serve) -> None:
    url = serve().http
    status, first = ask(f"{url}/v1/act", {"observation": {"value": [1, 2], "picture": [[0, 0], [0, 0]]}})
    assert (status, first["action"], first["info"]) == (200, [1, 2], {"steps": 1})
    observation = {"value": [1, 2], "picture": [[0, 0], [0, 0]]}
    status, second = ask(f"{url}/v1/act", {"observation": observation, "session": first["session"]})
    assert (second["action"], second["session"]) == ([2, 4], first["session"])
    assert ask(f"{url}/v1/sessions/{first['session']}", method="DELETE")[0] == 200
    assert ask(f"{url}/v1/sessions/{first['session']}", method="DELETE")[0] == 404


@pytest.mark.parametrize(
    ("body", "headers", "status", "told"),
    [
        (b"{", {}, 400, "the body is not JSON"),
        (b'{"observation": 1, "observation": 2}', {}, 400, "the key 'observation' occurs twice; leave one out"),
        (b"[1]", {}, 400, "expected an object with the field observation, got list"),
        (b"{}", {}, 400, "the field observation is missing"),
        (b'{"observation": 1, "obs": 2}', {}, 400, "unknown field 'obs'"),
        (b"[" * 5000, {}, 400, "nested more than"),
        (b"{}", {"content_type": "text/plain"}, 400, "unknown content-type text/plain"),
        (b"\xc1", {"content_type": "application/msgpack", "accept": "application/json"}, 400, "is not msgpack"),
        (b" " * 20_000, {}, 413, "at most 10000 bytes"),
        (b'{"observation": 1, "\\ud800": 2}', {}, 400, "unknown field"),
        (b'{"observation": 1, "\\ud800": 2}', {"accept": "application/msgpack"}, 400, "unknown field"),
        (b'{"observation": {"value": [1, 2], "picture": [[0, 0], [0, 0]]}, "reward": 1e39}', {}, 400, "reward: NaN"),
        (b'{"observation": {"value": [1, 2], "picture": [[0, 0], [0, 0]]}, "discount": 2}', {}, 400, "from 0 to 1"),
        (b'{"observation": {"value": [1, 2], "picture": [[0, 0], [0, 0]]}, "seed": -1}', {}, 400, "seed: expected"),
        (
            b'{"observation": {"value": [1, 2], "picture": [[0, 0], [0, 0]]}, "session": 1}',
            {},
            400,
            "session: expected",
        ),
        (b'{"observation": {"value": [1, 2], "picture": [[0, 0], [0, 0]]}, "state": 1}', {}, 400, "server keeps the"),
    ],
)
def test_bad_bodies_are_refused(serve: Serve, body: bytes, headers: dict[str, str], status: int, told: str) -> None:
    found, answer = ask(f"{serve().http}/v1/act", body, **headers)
    assert (found, list(answer)) == (status, ["error"])
    assert told in answer["error"]
    assert "\n" not in answer["error"]


OBSERVATION = {"value": [1, 2], "picture": [[0, 0], [0, 0]]}


def test_the_answer_has_the_form_that_is_asked_for_or_the_requests_own(serve: Serve) -> None:
    url = f"{serve().http}/v1/act"
    packed = msgpack.packb({"observation": OBSERVATION})

    def form(body: bytes, **headers: str) -> str:
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        with urllib.request.urlopen(urllib.request.Request(url, body, given), timeout=10) as answer:
            return answer.headers["content-type"]

    plain = json.dumps({"observation": OBSERVATION}).encode()
    # Most libraries send */*.
    assert form(packed, content_type="application/msgpack", accept="*/*") == "application/msgpack"
    assert form(packed, content_type="application/msgpack", accept="application/json") == "application/json"
    assert form(plain, content_type="application/json", accept="*/*") == "application/json"
    assert form(plain, content_type="application/json", accept="application/msgpack;q=0.9, */*;q=0.1") == (
        "application/msgpack"
    )


def test_an_upgrade_to_a_websocket_is_an_ordinary_request(serve: Serve) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    status, answer = ask(f"{serve().http}/v1/act", sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==", **headers)
    assert (status, answer) == (405, {"error": "/v1/act takes POST, not GET"})


def test_a_connection_that_the_server_has_closed_meanwhile_is_opened_again(serve: Serve) -> None:
    served = serve()
    with PolicyClient(served.http) as client:
        np.testing.assert_array_equal(client.action(seen(1, 2)), [1, 2])
        time.sleep(3 * served.keep_alive_s)
        np.testing.assert_array_equal(client.action(seen(1, 2)), [2, 4])


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_an_action_that_is_nan_is_an_error_and_leaves_the_session(serve: Serve, way: str) -> None:
    served = serve()
    with PolicyClient(getattr(served, way)) as client:
        client.act(seen(1, 2))
        served.service.policy.factor = np.nan
        with pytest.raises(ServingError, match="the policy's action is NaN or infinite") as caught:
            client.act(seen(1, 2))
        assert caught.value.kind is Kind.FAILED
        served.service.policy.factor = 1.0
        np.testing.assert_array_equal(client.action(seen(1, 2)), [2, 4])


def test_bytes_that_are_not_a_message_are_the_callers_fault(serve: Serve) -> None:
    import grpc

    served = serve(token="a-token-of-some-length")
    metadata = (("authorization", "Bearer a-token-of-some-length"),)
    with grpc.insecure_channel(served.grpc.removeprefix("grpc://")) as channel:
        for name in ("Act", "EndSession"):
            call = channel.unary_unary(f"/distpolicy.v1.Policy/{name}")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff\xff", timeout=10, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff\xff", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_grpc_refuses_a_call_without_the_token_before_its_message_has_come(serve: Serve) -> None:
    import grpc

    served = serve(token="a-token-of-some-length")
    never = threading.Event()

    def nothing() -> Iterator[bytes]:
        never.wait(10)
        yield b""

    with grpc.insecure_channel(served.grpc.removeprefix("grpc://")) as channel:
        # On the wire a message is a stream of one.
        for name in ("Act", "EndSession"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.stream_unary(f"/distpolicy.v1.Policy/{name}")(nothing(), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        # gRPC would refuse a message of this size as RESOURCE_EXHAUSTED if it looked at it.
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/distpolicy.v1.Policy/Act")(bytes(5_000_000), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        # Anyone may ask for the health, and nobody's message is taken.
        health = channel.stream_unary("/grpc.health.v1.Health/Check")
        assert health(nothing(), timeout=5) == b"\x08\x01"
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=5) == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/distpolicy.v1.Policy/Nothing")(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    never.set()
    assert served.counted.statuses == [("grpc", 401)] * 3


def test_methods_and_paths_are_checked(serve: Serve) -> None:
    url = serve().http
    assert ask(f"{url}/v1/act") == (405, {"error": "/v1/act takes POST, not GET"})
    assert ask(f"{url}/nothing") == (404, {"error": "there is nothing at /nothing; see /docs"})


def test_arrays_travel_as_bytes_in_msgpack(serve: Serve) -> None:
    value = np.float32([1, 2])
    array = {"dtype": "float32", "shape": [2], "data": value.tobytes()}
    body = msgpack.packb({"observation": {"value": array, "picture": [[0, 0], [0, 0]]}})
    request = urllib.request.Request(f"{serve().http}/v1/act", body, {"content-type": "application/msgpack"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        action = msgpack.unpackb(answer.read())["action"]
    assert (action["dtype"], action["shape"], action["data"]) == ("float32", [2], value.tobytes())


def test_a_policy_without_a_state_has_no_sessions(serve: Serve) -> None:
    served = serve(has_state=False)
    observation = {"value": [1, 2], "picture": [[0, 0], [0, 0]]}
    assert ask(f"{served.http}/v1/act", {"observation": observation}) == (200, {"action": [1, 2], "version": 3})
    status, answer = ask(f"{served.http}/v1/act", {"observation": observation, "session": "a1-x"})
    assert (status, answer["error"]) == (400, "this policy has no state: leave out session")


def test_sessions_are_found_at_the_replica_that_has_them(serve: Serve) -> None:
    served, other = (
        serve(replica="a1", token="a-token-of-some-length"),
        serve(replica="b2", token="a-token-of-some-length"),
    )
    with PolicyClient(served.http, "a-token-of-some-length") as client:
        client.act(seen(1, 2))
        for way in ("http", "grpc"):
            with PolicyClient(getattr(other, way), "a-token-of-some-length") as elsewhere:
                elsewhere._session = client._session
                last = elsewhere.action(seen(1, 2))
                with pytest.raises(ServingError, match="observation/value: NaN"):
                    elsewhere.act(seen(np.nan, 0))
                elsewhere._session = None
        np.testing.assert_array_equal(last, [3, 6])
        # What JSON has and msgpack has not.
        observation = {"value": [2**70, 1], "picture": [[0, 0], [0, 0]]}
        body = {"observation": observation, "session": client._session}
        status, answer = ask(f"{other.http}/v1/act", body, authorization="Bearer a-token-of-some-length")
        assert (status, answer["error"].partition(":")[0]) == (400, "the request has a value that no array holds")
        path = f"/v1/sessions/{client._session.partition('-')[0]}-..%2F..%2Fhealthz"
        assert ask(other.http + path, method="DELETE", authorization="Bearer a-token-of-some-length")[0] == 404
        assert (len(served.service.sessions), len(other.service.sessions)) == (1, 0)
        served.close()
        with PolicyClient(other.http, "a-token-of-some-length") as elsewhere:
            elsewhere._session = client._session
            with pytest.raises(ServingError, match="its replica was restarted"):
                elsewhere.act(seen(1, 2))


def test_many_clients_at_once_get_their_own_answers(serve: Serve) -> None:
    url = serve().http

    def play(number: int) -> list[float]:
        with PolicyClient(url) as client:
            return [float(client.action(seen(number, 0))[0]) for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(play, range(8))):
            assert found == [number * step for step in range(1, 11)]


def test_a_newer_policy_is_taken_between_requests(serve: Serve) -> None:
    served = serve(has_state=False)
    with PolicyClient(served.http) as client:
        assert client.act(seen(1, 2)).version == 3
        served.call(served.service.update, lambda: setattr(served.service.policy, "factor", 10.0), 4)
        reply = client.act(seen(1, 2))
        while reply.version == 3:
            reply = client.act(seen(1, 2))
        np.testing.assert_array_equal(reply.action, [10, 20])


def test_pages_describe_the_policy(serve: Serve) -> None:
    url = serve().http
    _, policy = ask(f"{url}/v1/policy")
    bounds = {"minimum": -100.0, "maximum": 100.0}
    assert policy["observation"]["value"] == {"name": "/value", "shape": [2], "dtype": "float32", **bounds}
    assert policy["action"] == {"shape": [2], "dtype": "float32"}
    # In a reply it is a list.
    assert policy["state"][1] == {"name": "/1", "shape": [], "dtype": "int64"}
    assert policy["state_kept_by"] == "server"
    _, document = ask(f"{url}/openapi.json")
    asked = document["paths"]["/v1/act"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"observation", "session"} <= asked["properties"].keys()
    one = asked["properties"]["observation"]["anyOf"][0]
    assert one["properties"]["value"]["items"] == {"type": "number", "minimum": -100.0, "maximum": 100.0}
    with urllib.request.urlopen(f"{url}/docs", timeout=10) as page:
        text = page.read().decode()
    assert "POST /v1/act" in text
    assert "src=" not in text  # It needs no network.
    with urllib.request.urlopen(f"{url}/docs/policy.proto", timeout=10) as page:
        assert "rpc Act(ActRequest) returns (ActReply);" in page.read().decode()


def test_the_description_names_what_a_reply_has_in_a_list() -> None:
    class Named(SummingPolicy):
        def __init__(self) -> None:
            super().__init__(has_state=False)
            self.info_spec = PolicyInfo(ArraySpec((), np.float32))

        def action(self, time_step: Any, policy_state: Any, seed: Any) -> Any:
            step = super().action(time_step, policy_state, seed)
            return step._replace(info=PolicyInfo(np.zeros(len(step.action), np.float32)))

    service = PolicyService(Named(), ServiceConfig(max_batch=8))
    assert describe("named", service)["info"] == ({"name": "/log_probability", "shape": [], "dtype": "float32"},)
    reply = openapi("named", service, needs_token=False)["paths"]["/v1/act"]["post"]["responses"]["200"]["content"]
    assert "/log_probability" in reply["application/json"]["schema"]["properties"]["info"]["description"]
    service.close()


@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_call_on_the_page_works_as_it_is(serve: Serve, token: str | None, tmp_path: Path) -> None:
    url = serve(token=token).http
    given = {} if token is None else {"authorization": f"Bearer {token}"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/docs", headers=given), timeout=10) as page:
        found = re.search(r"<pre>(curl .*?)</pre>", page.read().decode(), re.DOTALL)
    assert found
    command = html.unescape(re.sub("<[^>]*>", "", found[1]))
    assert f"{url}/v1/act" in command
    # Such lines need no scroll bar in a narrow window.
    assert max(map(len, command.splitlines())) < 88
    program = tmp_path / "curl"
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    command = command.replace("curl", str(program), 1).replace("TOKEN", TOKEN)
    words = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.splitlines()
    headers = dict(words[index + 1].split(": ", 1) for index, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1].encode()
    status, answer = ask(words[0], body, **{name.lower().replace("-", "_"): text for name, text in headers.items()})
    assert (status, answer["version"]) == (200, 3)


@pytest.mark.parametrize("state", ["server", "client", None])
def test_what_the_interface_describes_is_what_the_server_takes_and_answers(serve: Serve, state: str | None) -> None:
    url = (serve(has_state=False) if state is None else serve(state=state)).http
    _, document = ask(f"{url}/openapi.json")
    post = document["paths"]["/v1/act"]["post"]
    asked = post["requestBody"]["content"]["application/json"]["schema"]
    answered = post["responses"]["200"]["content"]["application/json"]["schema"]
    for schema in (asked, answered):
        jsonschema.Draft202012Validator.check_schema(schema)
    batch = {"value": [[1, 2], [3, 4]], "picture": [[[0, 0], [0, 0]]] * 2}
    taken: list[dict[str, Any]] = [
        {"observation": OBSERVATION},
        {"observation": OBSERVATION, "first": True, "reward": 1.5, "discount": 0, "seed": 3},
        {"observation": batch, "first": [True, False], "reward": [1, 2]},
        {"observation": OBSERVATION, "first": None},
    ]
    for body in taken:
        jsonschema.validate(body, asked)
        status, answer = ask(f"{url}/v1/act", body)
        assert status == 200, answer
        jsonschema.validate(answer, answered)
        if name := {"server": "session", "client": "state"}.get(state or ""):
            following = {**body, name: answer[name]}
            jsonschema.validate(following, asked)
            assert ask(f"{url}/v1/act", following)[0] == 200
    refused: list[dict[str, Any]] = [
        {"observation": {"value": [1, 2, 3], "picture": [[0, 0], [0, 0]]}},
        {"observation": {"value": [1, 1000], "picture": [[0, 0], [0, 0]]}},
        {"observation": {"value": [[1, 2]] * 9, "picture": [[[0, 0], [0, 0]]] * 9}},
        {"observation": {"value": [1, 2]}},
        {"observation": OBSERVATION, "seed": -1},
        {"observation": OBSERVATION, "unknown": 1},
    ]
    for body in refused:
        assert ask(f"{url}/v1/act", body)[0] in (400, 413)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body, asked)


def test_the_interface_says_whether_a_token_is_needed(serve: Serve) -> None:
    token = {"authorization": "Bearer a-token-of-some-length"}
    assert "security" not in ask(f"{serve().http}/openapi.json")[1]
    document = ask(f"{serve(token='a-token-of-some-length').http}/openapi.json", **token)[1]
    assert document["security"] == [{"token": []}, {"password": []}]
    schemes = document["components"]["securitySchemes"]
    assert (schemes["token"]["scheme"], schemes["password"]["scheme"]) == ("bearer", "basic")
    assert document["paths"]["/healthz"]["get"]["security"] == []


def raw(served: Any, request: bytes) -> bytes:
    """Returns the answer to a request that is sent as it is, and waited for although more may have to be sent."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = connection.recv(10_000)
            assert part, answer
            answer += part
        return answer


@pytest.mark.parametrize("path", ["/healthz", "/v1/act", "/v1/policy", "/v1/sessions/a1-x", "/nothing"])
def test_without_the_token_no_body_is_waited_for(serve: Serve, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9000\r\n\r\n"
    answer = raw(serve(token=TOKEN), head.encode())
    assert answer.startswith(b"HTTP/1.1 200" if path == "/healthz" else b"HTTP/1.1 401")


def test_a_body_that_does_not_come_is_an_error_and_ends_the_connection(serve: Serve) -> None:
    served = serve(body_timeout_s=0.3)
    head = b"POST /v1/act HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 9000\r\n\r\n"
    answer = raw(served, head + b'{"observation"')
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"connection: close" in answer


def test_a_client_that_goes_before_its_request_is_complete_is_not_counted(serve: Serve) -> None:
    served = serve()
    head = b"POST /v1/act HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 9000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(head + json.dumps({"observation": OBSERVATION}).encode())
        time.sleep(0.1)
    time.sleep(0.2)
    assert served.counted.statuses == []
    assert len(served.service.sessions) == 0


def headers_of(url: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, None, headers, method=method), timeout=10) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_errors_have_the_headers_that_http_asks_for(serve: Serve) -> None:
    served = serve()
    status, headers = headers_of(f"{served.http}/v1/act")
    assert (status, headers["allow"]) == (405, "POST")
    status, headers = headers_of(f"{served.http}/v1/policy", "DELETE")
    assert (status, headers["allow"]) == (405, "GET")
    assert headers_of(f"{served.http}/v1/policy", "HEAD")[0] == 200
    status, headers = headers_of(f"{serve(replica='b2', token=TOKEN).http}/docs")
    assert (status, headers.get_all("www-authenticate")) == (401, ["Bearer", 'Basic realm="distpolicy"'])
    # There is no token, so that a browser must not ask for a password.
    status, headers = headers_of(f"{served.http}/docs", host="a-site.example")
    assert (status, headers.get_all("www-authenticate")) == (401, ["Bearer"])


def basic(text: bytes) -> str:
    return f"Basic {base64.b64encode(text).decode()}"


@pytest.mark.parametrize("user", [b"", b"me", b"gr\xc3\xb6\xc3\x9fe"])
def test_a_browser_may_send_the_token_as_a_password(serve: Serve, user: bytes) -> None:
    served = serve(token=TOKEN)
    given = basic(user + b":" + TOKEN.encode())
    for path in ("/docs", "/openapi.json", "/v1/policy"):
        assert headers_of(served.http + path, authorization=given)[0] == 200
    assert ask(f"{served.http}/v1/act", {"observation": OBSERVATION}, authorization=given)[0] == 200
    # As urllib does it, and other libraries: at first without a password, then with one for the answer's realm.
    passwords = urllib.request.HTTPPasswordMgr()
    passwords.add_password("distpolicy", served.http, user.decode(), TOKEN)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    with opener.open(f"{served.http}/docs", timeout=10) as page:
        assert page.status == 200


@pytest.mark.parametrize(
    "given",
    [
        "Basic",
        "Basic ",
        "Basic ???",
        "Basic größe".encode().decode("latin-1"),
        basic(b"a-token-of-some-length"),
        basic(b"a-token-of-some-length:"),
        basic(b"me:a-token-of-some-lengtH"),
        basic(b"me:a-token-of-some-length:"),
        "Digest a-token-of-some-length",
        "a-token-of-some-length",
    ],
)
def test_what_does_not_have_the_token_as_a_password_is_refused(serve: Serve, given: str) -> None:
    assert headers_of(f"{serve(token=TOKEN).http}/docs", authorization=given)[0] == 401


def test_pages_of_other_sites_cannot_ask_a_server_without_a_token(serve: Serve) -> None:
    served = serve()
    for host in ("127.0.0.1", "localhost:8000", "[::1]:8000", "10.0.0.5:8000"):
        assert ask(f"{served.http}/v1/policy", host=host)[0] == 200
    for host in ("a-site.example", "127.0.0.1.a-site.example:8000"):
        status, answer = ask(f"{served.http}/v1/policy", host=host)
        assert (status, "or serve with --token-file" in answer["error"]) == (401, True)
        assert ask(f"{served.http}/healthz", host=host)[0] == 200
    # A browser sends a body without a type for any page; for these types it asks the server first.
    body = json.dumps({"observation": OBSERVATION})
    typeless = f"POST /v1/act HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    assert raw(served, typeless.encode()).startswith(b"HTTP/1.1 400")
    assert len(served.service.sessions) == 0
    other = serve(replica="b2", token=TOKEN)
    assert ask(f"{other.http}/v1/policy", host="a-site.example", authorization=f"Bearer {TOKEN}")[0] == 200


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_the_text_of_the_servers_own_errors_is_in_its_log_only(
    serve: Serve, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    with PolicyClient(getattr(served, way)) as client:
        client.act(seen(1, 2))
        served.service.policy.error = RuntimeError("/home/someone/secret")
        for _ in range(20):
            with pytest.raises(
                ServingError, match=r"^the policy failed: RuntimeError; the server's log has the rest$"
            ) as caught:
                client.act(seen(1, 2))
            assert caught.value.kind is Kind.FAILED
        served.service.policy.error = None
    assert "/home/someone/secret" in caplog.text
    # Not for each request: the log would fill the disk.
    assert 1 <= len(caplog.records) < 20


def forwarded_to(serve: Serve, token: str | None = None) -> tuple[Any, Any, str]:
    """Returns a replica, another one, and a session of the other one."""
    asked, other = serve(replica="a1", token=token), serve(replica="b2", token=token)
    with PolicyClient(other.http, token) as client:
        session = str(client.act(seen(1, 2)).session)
        client._session = None
    wait_for_count(other, 1)
    other.counted.statuses.clear()
    return asked, other, session


def wait_for_count(served: Any, num: int) -> None:
    """Waits until a number of requests are counted: a client may have an answer a moment before that."""
    deadline = time.monotonic() + 10.0
    while len(served.counted.statuses) < num:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_forwarded_request_may_be_longer_than_it_has_come(serve: Serve) -> None:
    served, other, session = forwarded_to(serve)
    observation = {"value": [0.5] * 2400, "picture": [[0, 0], [0, 0]]}
    body = json.dumps({"observation": observation, "session": session}, separators=(",", ":")).encode()
    assert len(body) < 10_000
    # In msgpack it has more than twice the bytes. It is refused for what is wrong with it.
    for replica in (served, other):
        status, answer = ask(f"{replica.http}/v1/act", body)
        assert (status, answer["error"].partition(",")[0]) == (400, "observation/value: expected shape [2]")


def test_clients_do_not_pass_for_replicas(serve: Serve) -> None:
    served = serve()
    for key in ("a1", "", "a-keY", "größe".encode().decode("latin-1")):
        status, answer = ask(f"{served.http}/v1/act", b" " * 20_000, x_distpolicy_forwarded=key)
        assert (status, answer["error"]) == (413, "a request may have at most 10000 bytes")


def test_a_forwarded_request_is_counted_once(serve: Serve) -> None:
    served, other, session = forwarded_to(serve)
    with PolicyClient(served.http) as client:
        client._session = session
        client.act(seen(1, 2))
        with pytest.raises(ServingError):
            client.act(seen(np.nan, 2))
        client.reset()
    wait_for_count(served, 3)
    assert served.counted.statuses == [("http", 200), ("http", 400), ("http", 200)]
    assert other.counted.statuses == []


def test_another_program_at_the_address_of_a_replica_is_not_taken_for_it(serve: Serve) -> None:
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(307)
            self.send_header("location", served.http + "/v1/act")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    served = serve()
    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        served.others["b2"] = f"127.0.0.1:{stranger.server_port}"
        status, answer = ask(f"{served.http}/v1/act", {"observation": OBSERVATION, "session": "b2-x"})
        assert (status, answer["error"].partition(":")[0]) == (404, "session b2-x is not known")
        stranger.shutdown()


def test_a_name_that_no_session_has_is_looked_for_nowhere(serve: Serve) -> None:
    served = serve()
    status, answer = ask(f"{served.http}/v1/act", {"observation": OBSERVATION, "session": "b" * 5000})
    assert (status, len(answer["error"]) < 300) == (404, True)
    assert served.asked == []


def test_two_requests_at_once_of_a_session_are_a_conflict(serve: Serve) -> None:
    served = serve()
    with PolicyClient(served.http) as client, PolicyClient(served.http) as other:
        other._session = client.act(seen(1, 2)).session
        session = served.service.sessions.use(str(other._session), 1, False)
        with pytest.raises(ServingError, match="has a request under way") as caught:
            other.act(seen(1, 2))
        assert caught.value.kind is Kind.CONFLICT
        served.service.sessions.release(session, None)
        np.testing.assert_array_equal(other.action(seen(1, 2)), [2, 4])
        other._session = None
