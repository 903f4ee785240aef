"""Requests a second and latency of ``distpolicy serve`` beside a SavedModel behind plain Ray Serve.

Both sides serve the same small policy (4 -> 64 -> 64 -> 2, greedy) on this machine, and are measured in turns, while
the other one is idle. The clients are one process of their own (serve_load.py) with a connection each, on loopback.
Plain Ray Serve has two rows: each request alone, and batches by ``@serve.batch``. The ratio is to the better of them,
in the same form, JSON, each side with the number of replicas that is best for it.

    python benchmarks/serve.py --rounds 3 --seconds 6
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from reporting import met, print_header, print_table

HERE = Path(__file__).resolve().parent
# The figures of each turn by side and number of clients.
Found = dict[tuple[str, int], list[dict[str, float]]]
CLIENTS = (1, 16, 64)
GOAL = 5.0
START_TIMEOUT_S = 300.0
END_TIMEOUT_S = 60.0

MAKE = """
import sys
import numpy as np
from pathlib import Path
from distpolicy.export.exporter import export
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import time_step_spec
observation = BoundedArraySpec((4,), np.float32, -10, 10)
action = BoundedArraySpec((), np.int64, 0, 1)
network = ActorDistributionNetwork(observation, action, fc_layer_params=(64, 64))
policy = GreedyPolicy(ActorPolicy(time_step_spec(observation), action, network))
folder = Path(sys.argv[1])
PolicySaver(policy).save(str(folder / "policy"))
export(policy, "saved_model", folder / "exported")
"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], ready: str) -> Iterator[tuple[int, str]]:
    """Yields a server's process id and its output when it is ready, and ends it after the block."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "RAY_worker_niceness": "0"}
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            output = ""
            while not re.search(ready, output):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command} did not start:\n{output}")
                time.sleep(0.1)
                output = os.pread(log.fileno(), 2**20, 0).decode()
            yield server.pid, output
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()


def cpu_s(pid: int) -> float:
    """Returns the CPU time that a server and all processes of its Ray have taken."""
    total = 0.0
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def load(side: Side, clients: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, str(HERE / "serve_load.py"), "--port", str(side.port), "--path", side.path]
    command += ["--body-file", str(side.body), "--content-type", side.content_type]
    command += ["--clients", str(clients), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2], help="numbers of replicas to try")
    parser.add_argument("--no-msgpack", action="store_true", help="measure JSON alone")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    arguments = parser.parse_args()
    print_header("serving a small policy", ("ray", "tensorflow", "ai-edge-litert", "uvicorn"))
    with tempfile.TemporaryDirectory(prefix="dps-", dir="/tmp") as text:
        folder = Path(text)
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "CUDA_VISIBLE_DEVICES": "-1"}
        subprocess.run([sys.executable, "-c", MAKE, text], env=environment, check=True, stderr=subprocess.DEVNULL)
        observation = [0.1, -0.2, 0.3, 0.4]
        (folder / "body.json").write_text(json.dumps({"observation": observation}))
        (folder / "body.msgpack").write_bytes(msgpack_body(np.float32(observation)))
        found: Found = defaultdict(list)
        for count in arguments.replicas:
            with contextlib.ExitStack() as stack:
                sides = started(stack, folder, count, arguments.no_msgpack)
                for _ in range(arguments.rounds):
                    for clients in arguments.clients:
                        measure(sides, clients, arguments.seconds, found)
    report(found, list(dict.fromkeys(name for name, _ in found)), arguments.clients)


class Side(NamedTuple):
    """What is measured: a server's process, where it listens, and what is sent."""

    pid: int
    port: int
    path: str
    body: Path
    content_type: str


def started(stack: contextlib.ExitStack, folder: Path, count: int, no_msgpack: bool) -> dict[str, Side]:
    """Starts the servers of both sides with a number of replicas, and returns what is measured by name."""
    command = [sys.executable, "-m", "launch", "serve", str(folder / "policy"), "--port", "0"]
    pid, output = stack.enter_context(running([*command, "--replicas", str(count)], "Ctrl-C"))
    port = int(re.search(r"http://127.0.0.1:(\d+)", output)[1])
    forms = {"JSON": (folder / "body.json", "application/json")}
    if not no_msgpack:
        forms["msgpack"] = (folder / "body.msgpack", "application/msgpack")
    sides = {f"ours, {form}, {count}": Side(pid, port, "/v1/act", *body) for form, body in forms.items()}
    port = free_port()
    command = [sys.executable, str(HERE / "serve_plain.py"), str(folder / "exported"), "--port", str(port)]
    command += ["--replicas", str(count), "--ray-dir", str(folder / f"ray{count}")]
    pid, _ = stack.enter_context(running(command, "ready"))
    for name in ("single", "batched"):
        sides[f"plain Ray Serve {name}, JSON, {count}"] = Side(pid, port, f"/{name}", *forms["JSON"])
    return sides


def measure(sides: dict[str, Side], clients: int, seconds: float, found: Found) -> None:
    for name, side in sides.items():
        before = cpu_s(side.pid)
        figures = load(side, clients, seconds)
        figures["cpu_ms"] = (cpu_s(side.pid) - before) / figures["num_requests"] * 1e3
        found[name, clients].append(figures)
        print(f"{name:>36} replicas, {clients:3} clients: {figures}", file=sys.stderr)


def msgpack_body(observation: np.ndarray) -> bytes:
    sys.path.insert(0, str(HERE.parent))
    from distpolicy.serving.documents import FORMS, MSGPACK

    return FORMS[MSGPACK].encode({"observation": observation})


def report(found: Found, names: list[str], all_clients: list[int]) -> None:
    rows, goals = [], []
    for clients in all_clients:
        best = {True: 0.0, False: 0.0}
        for name in names:
            rate, p50, p99, cpu_ms = (
                float(np.median([item[key] for item in found[name, clients]]))
                for key in ("requests_per_s", "p50_ms", "p99_ms", "cpu_ms")
            )
            if "JSON" in name:
                best[name.startswith("ours")] = max(best[name.startswith("ours")], rate)
            rows.append((name, str(clients), f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{cpu_ms:.2f}"))
        ratio = best[True] / best[False]
        goal = f"{met(ratio >= GOAL)} (>= {GOAL:g} x)" if clients == max(CLIENTS) else ""
        goals.append((str(clients), f"{best[True]:,.0f}", f"{best[False]:,.0f}", f"{ratio:.1f} x", goal))
    print_table(("side, form, replicas", "clients", "requests/s", "p50 ms", "p99 ms", "CPU ms a request"), rows)
    print("JSON, each side with the number of replicas, and plain Ray Serve with the way, that is best for it:")
    print_table(("clients", "ours", "plain Ray Serve", "ratio", "goal"), goals)


if __name__ == "__main__":
    main()
