"""`distpolicy serve` as a user runs it: a real Ray Serve, real clients, signals and killed replicas."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import psutil
import pytest
import tensorflow as tf
from commands import distpolicy, environment, our_processes
from rich.console import Console

from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.serving import PolicyClient, ServingError
from distpolicy.serving.messages import Kind
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from launch.config.codec import dump
from launch.config.train import TrainConfig

READY_S = 180.0
OBSERVATION = BoundedArraySpec((3,), np.float32, -10, 10)
ACTION = BoundedArraySpec((2,), np.float32, -100, 100)


@pytest.fixture
def policy() -> Any:
    network = ActorDistributionRnnNetwork(
        OBSERVATION, ACTION, input_fc_layer_params=(4,), lstm_size=(4,), output_fc_layer_params=()
    )
    return GreedyPolicy(ActorPolicy(time_step_spec(OBSERVATION), ACTION, network))


@pytest.fixture
def saved(policy: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "saved" / "policy"
    PolicySaver(policy).save(str(folder))
    return folder


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(dump(TrainConfig()))
    shutil.copytree(saved, folder / "policy")
    return folder


def expected_actions(policy: Any, observations: np.ndarray) -> list[np.ndarray]:
    """What TensorFlow computes for an episode."""
    state, found = policy.get_initial_state(1), []
    for number, observation in enumerate(observations):
        zeros = tf.zeros(1)
        step = TimeStep(tf.constant([min(number, 1)]), zeros, zeros + 1, tf.constant(observation[None]))
        answer = policy.action(step, state)
        state = answer.state
        found.append(answer.action.numpy()[0])
    return found


@contextlib.contextmanager
def serving(*arguments: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Starts the command, and yields it and its output when it serves."""
    command = [sys.executable, "-m", "launch", "serve", *arguments]
    log = cwd / "serve.log"
    with open(log, "w") as file:
        process = subprocess.Popen(
            command, cwd=cwd, stdout=file, stderr=subprocess.STDOUT, text=True, env=environment()
        )
    try:
        deadline = time.monotonic() + READY_S
        while "Ctrl-C ends it" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process, log.read_text()
    finally:
        process.kill()
        process.wait()


def replicas(name: bytes = b"ServeReplica") -> set[int]:
    """The processes of the replicas, or of other actors."""
    found = set()
    for folder in our_processes():
        with contextlib.suppress(OSError):
            if name in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_run_is_served_followed_and_survives_a_killed_replica(policy: Any, run: Path, tmp_path: Path) -> None:
    options = ["--port", "0", "--grpc-port", "0", "--replicas", "2", "--token-file", "token", "--follow"]
    with serving(str(run), *options, cwd=tmp_path) as (process, output):
        token = (tmp_path / "token").read_text().strip()
        assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
        found = re.search(r"http: (http://127\.0\.0\.1:\d+).*\ngrpc: (127\.0\.0\.1:\d+)\nmetrics: (\S+)\n", output)
        assert found, output
        urls, metrics = [found[1], f"grpc://{found[2]}"], found[3]
        # Before a replica listens, for whoever waits for it and reads the address afterwards.
        assert f"starting 2 replicas at {urls[0]} ..." in output
        assert f"documentation: {urls[0]}/docs; the token is the password" in output
        check_reached_from_here_alone(urlsplit(metrics).port)
        check_rays_token_is_needed()
        for url in urls:
            with PolicyClient(url, "another-token-than-that") as client, pytest.raises(ServingError, match="a token"):
                client.act(np.zeros(3))

        # Sessions, over connections to both replicas: the next request may come to the one without the session.
        observations = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
        expected = expected_actions(policy, observations)
        names = set()
        for url in urls * 6:
            session = None
            for number, observation in enumerate(observations):
                with contextlib.closing(PolicyClient(url, token)) as client:
                    client._session = session
                    reply = client.act(observation)
                    session, client._session = reply.session, None
                np.testing.assert_allclose(reply.action, expected[number], rtol=1e-4, atol=1e-5)
            names.add(str(session).split("-")[0])
        assert len(names) == 2  # Both replicas have begun sessions.

        wait_for(lambda: "ray_distpolicy_serve_requests" in text_of(metrics))

        # A newer policy.
        for variable in policy.variables():
            variable.assign(0.5 * variable)
        PolicySaver(policy, train_step=tf.Variable(7, dtype=tf.int64)).save(str(tmp_path / "newer"))
        (run / "policy").rename(tmp_path / "older")
        (tmp_path / "newer").rename(run / "policy")
        newer = expected_actions(policy, observations)
        assert not np.allclose(newer[-1], expected[-1], atol=1e-3)
        wait_for(lambda: versions(urls[0], token) == {7})
        with PolicyClient(urls[0], token) as client:
            for observation, want in zip(observations, newer, strict=True):
                np.testing.assert_allclose(client.action(observation), want, rtol=1e-4, atol=1e-5)

        # A killed replica comes back, and the other one serves meanwhile. So does what replicas have the policy from.
        (keeper,) = replicas(b"PolicyKeeper")
        os.kill(keeper, signal.SIGKILL)
        before = replicas()
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: len(replicas()) == 2 and replicas() != before)
        wait_for(lambda: versions(urls[0], token) == {7})
        assert len(replicas(b"PolicyKeeper") - {keeper}) == 1

        # So does what loads policies, and a policy that does not fit is told once.
        (loader,) = replicas(b"PolicyLoader")
        told = (tmp_path / "serve.log").read_text().count("the previous policy stays")
        (run / "policy" / "variables" / "variables.index").write_bytes(b"damaged")
        os.utime(run / "policy" / "saved_model.pb")
        wait_for(lambda: (tmp_path / "serve.log").read_text().count("the previous policy stays") == told + 1)
        os.kill(loader, signal.SIGKILL)
        wait_for(lambda: replicas(b"PolicyLoader") - {loader})
        shutil.rmtree(run / "policy")
        PolicySaver(policy, train_step=tf.Variable(8, dtype=tf.int64)).save(str(tmp_path / "newest"))
        (tmp_path / "newest").rename(run / "policy")
        wait_for(lambda: versions(urls[0], token) == {8})

        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        log = (tmp_path / "serve.log").read_text()
        assert "Traceback" not in log
        assert re.search(r"\nended after [\d.]+ s: [\d,]+ actions computed\n$", log), log


def text_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as page:
        return str(page.read().decode())


def listening(place: Any) -> list[Any]:
    """The addresses at which a process listens, or, of psutil itself, all processes."""
    return [item.laddr for item in place.net_connections("inet") if item.status == psutil.CONN_LISTEN]


def check_reached_from_here_alone(port: int | None) -> None:
    assert {place.ip for place in listening(psutil) if place.port == port} == {"127.0.0.1"}


def check_rays_token_is_needed() -> None:
    """Asks the ports that Ray Serve has opened in the replicas, at all addresses."""
    ports = [place.port for replica in replicas() for place in listening(psutil.Process(replica)) if place.ip == "::"]
    assert len(ports) == 2
    for port in ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for name in ("HandleRequest", "HandleRequestWithRejection"):
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(f"/ray.serve.ASGIService/{name}")(b"", timeout=10)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def versions(url: str, token: str) -> set[int]:
    """The versions of the weights that a number of connections meet."""
    found = set()
    for _ in range(12):
        try:
            with PolicyClient(url, token) as client:
                found.add(client.act(np.zeros(3)).version)
        except ConnectionError:
            return set()
    return found


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 90.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_tensorflow_serves_a_saved_model_whose_client_keeps_the_state(policy: Any, run: Path, tmp_path: Path) -> None:
    options = ["--port", "0", "--replicas", "1", "--inference", "tf", "--state", "client", "--debug"]
    with serving(str(run / "policy"), *options, cwd=tmp_path) as (process, output):
        # --debug shows what the processes of Ray Serve log.
        assert re.search(r"\(ServeController pid=\d+\)\S* INFO", output)
        assert "by TensorFlow in 1 replica" in output
        url = re.search(r"http: (\S+)", output)
        assert url
        observations = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
        with PolicyClient(url[1]) as client:
            for observation, want in zip(observations, expected_actions(policy, observations), strict=True):
                reply = client.act(observation)
                np.testing.assert_allclose(reply.action, want, rtol=1e-4, atol=1e-5)
            assert reply.session is None
            client._session = "some-session"
            client._state = None
            with pytest.raises(ServingError, match="keeps no sessions") as caught:
                client.act(observations[0])
            assert caught.value.kind is Kind.INVALID
            client._session = None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        # Those of the last second, too, and not the request that was refused.
        assert re.search(r"\nended after [\d.]+ s: 4 actions computed\n", (tmp_path / "serve.log").read_text())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "nowhere is neither a run directory nor the folder of a policy's SavedModel"),
        (("run", "--host", "0.0.0.0"), "others can reach 0.0.0.0: give --token-file FILE"),
        (("run", "--host", "localhost"), "host must be an IP address"),
        (("run", "--policy", "best"), "has no best_policy"),
        (("run/policy", "--follow"), "--follow is for a run directory"),
        (("run", "--token-file", "short"), "the token must have 16 or more"),
        (("run", "--max-batch", "0"), "max_batch must be from 1 to 4096"),
        (("shared",), "others may write to "),
        (("shared", "--trust-shared", "--host", "0.0.0.0"), "others can reach 0.0.0.0"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run" / "policy").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text(dump(TrainConfig()))
    (tmp_path / "run" / "policy" / "saved_model.pb").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISTPOLICY_TOKEN", raising=False)
    from distpolicy.errors import ConfigError
    from launch.commands.serve import parse_serve
    from launch.serving.server import PolicyServer

    shutil.copytree("run", "shared")
    Path("shared/policy/saved_model.pb").chmod(0o666)
    Path("short").write_text("short")
    Path("short").chmod(0o600)

    def start() -> None:
        parsed = parse_serve(list(arguments))
        PolicyServer(parsed.source, parsed.config)

    with pytest.raises(ConfigError, match=re.escape(told)):
        start()


def test_a_port_in_use_is_told() -> None:
    import socket

    from distpolicy.errors import ConfigError
    from launch.serving.ports import reserve

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match=r"cannot listen at 127.0.0.1 port \d+: Address already in use"):
            reserve("127.0.0.1", other.getsockname()[1])
    with reserve("127.0.0.1", 0) as kept, pytest.raises(ConfigError):
        reserve("127.0.0.1", kept.getsockname()[1])


@pytest.mark.slow
def test_export_tells_the_inputs_and_the_difference(run: Path, tmp_path: Path) -> None:
    done = distpolicy("export", "run", "out", "--to", "tflite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "input observation: float32[1, 3]" in done.stdout
    assert re.search(r"compared with the policy on 1,024 random observations: max difference \S+", done.stdout)
    deeper = distpolicy("export", "run", "some/where/out", "--to", "saved_model", cwd=tmp_path)
    assert deeper.returncode == 0, deeper.stderr
    assert (tmp_path / "some" / "where" / "out" / "saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("used", "used exists: choose another folder"),
        ("used/file", "used/file exists: choose another folder"),
        ("used/file/out", "cannot write into used/file/out: "),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_a_policy_is_loaded(
    out: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "saved_model.pb").write_bytes(b"cannot be loaded")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    # It is not even imported.
    monkeypatch.setitem(sys.modules, "distpolicy.export.exporter", None)
    monkeypatch.chdir(tmp_path)
    from distpolicy.errors import ConfigError
    from launch.export import export_policy

    with pytest.raises(ConfigError, match=re.escape(told)):
        export_policy(Path("policy"), "tflite", Path(out), None, Console())
