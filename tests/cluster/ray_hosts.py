"""A Ray cluster on hosts of this machine, by Ray's own command line, with token authentication."""

from __future__ import annotations

import json
import secrets
import subprocess
from typing import Any

from hosts import HERE, HOME, Host

PORT = 6379
DASHBOARD_PORT = 8265
START_ATTEMPTS = 5

_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(HERE),
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # A node that does not answer is given up after some 15 s; by Ray's own settings, after 30.
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "3",
}


class RayHosts:
    """A head, and hosts that join it.

    Args:
        head: The host of the head.
        options: More options of its ``ray start``.
    """

    def __init__(self, head: Host, *options: str) -> None:
        self.head = head
        self.address = f"{head.address}:{PORT}"
        self.dashboard = f"http://{head.address}:{DASHBOARD_PORT}"
        self.token = secrets.token_hex(32)
        ports = (f"--port={PORT}", f"--dashboard-port={DASHBOARD_PORT}")
        self._ray_start(head, "--head", *ports, f"--dashboard-host={head.address}", *options)

    def join(self, host: Host, *options: str) -> None:
        """Starts Ray on another host, which joins the head."""
        self._ray_start(host, f"--address={self.address}", *options)

    def join_again(self, host: Host, *options: str) -> None:
        """Starts Ray on a host that was taken for dead."""
        self.run(host, "ray", "stop", "--force")
        self.join(host, *options)

    def give_token(self, host: Host) -> None:
        """Lets who is on a host use the cluster."""
        folder = host.path(HOME) / ".ray"
        folder.mkdir(exist_ok=True)
        (folder / "auth_token").write_text(self.token)

    def start(self, host: Host, *words: str) -> subprocess.Popen[str]:
        """Starts a command on a host."""
        return host.start(*words, **_ENVIRONMENT)

    def run(self, host: Host, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command on a host to its end."""
        return host.run(*words, **_ENVIRONMENT)

    def nodes(self) -> dict[str, str]:
        """The address of each node that has ever joined, by its id."""
        return {node["node_id"]: node["node_ip"] for node in self._list("nodes")}

    def places(self, kind: str, *states: str) -> list[str]:
        """Addresses of the nodes of all actors of a class that are in one of these states, in order."""
        nodes = self.nodes()
        actors = [actor for actor in self._list("actors") if actor["class_name"] == kind and actor["state"] in states]
        return sorted(nodes[actor["node_id"]] for actor in actors)

    def _list(self, what: str) -> list[dict[str, Any]]:
        shown = self.head.run("ray", "list", what, "--format=json", "--limit=1000", **_ENVIRONMENT)
        assert shown.returncode == 0, shown.stdout
        return json.loads(shown.stdout[shown.stdout.index("[") :])

    def _ray_start(self, host: Host, *options: str) -> None:
        self.give_token(host)
        common = ("--object-store-memory=200000000", "--disable-usage-stats")
        # A node whose agent is not up in 15 s ends, and no setting changes that.
        for _ in range(START_ATTEMPTS):
            done = self.run(host, "ray", "start", *common, *options)
            if done.returncode == 0:
                return
            self.run(host, "ray", "stop", "--force")
        raise AssertionError(done.stdout)
