"""On a cluster, Prometheus finds a run's metrics at the node of the driver."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from importlib import resources
from pathlib import Path

import pytest
from commands import environment
from ray_head import RAY, RayHead, free_ports, ray_head

OPTIONS = ("--collectors", "1", "--envs-per-collector", "8", "--max-policy-lag", "1", "--run-dir", "watched")
OPTIONS += ("--eval-every", "20", "--eval-episodes", "2")
DASHBOARD = resources.files("launch.output") / "grafana_dashboard.json"


def queried() -> set[str]:
    """The metrics that the dashboard of Grafana asks for."""
    return set(re.findall(r"ray_distpolicy_\w+", DASHBOARD.read_text()))


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) == 10
    for panel in dashboard["panels"]:
        assert panel["targets"]
        for target in panel["targets"]:
            assert re.fullmatch(r'ray_distpolicy_\w+\{run=~"\$run"\}', target["expr"])
    assert {"ray_distpolicy_sync_s", "ray_distpolicy_restarts", "ray_distpolicy_learner_wait_s"} <= queried()


@pytest.mark.slow
def test_prometheus_reads_the_metrics_of_a_run_on_a_cluster(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    more = ("--metrics-export-port", str(port), "--system-config", '{"metrics_report_interval_ms": 500}')
    with ray_head(tmp_path, "--num-cpus", "2", *more) as head:
        command = [sys.executable, "-m", "launch", "train", *OPTIONS, "--address", head.address]
        run = subprocess.Popen(
            [*command, "--total-steps", "100000000", "--target-return", "501"],
            env=environment(**head.environment(), RAY_AUTH_MODE="token"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            found, actors = "", ""
            # Until it is there: a time limit would be one of the machine.
            while not queried() <= set(re.findall(r"^ray_distpolicy_\w+", found, re.MULTILINE)):
                assert run.poll() is None, run.communicate()[0]
                time.sleep(0.5)
                found = _page(port, head.token)
            actors = _actors(head)
        finally:
            run.terminate()
            run.communicate()
    lag = re.search(r"^ray_distpolicy_policy_lag_mean\{(.*)\} ([\d.]+)$", found, re.MULTILINE)
    assert lag is not None
    assert 'run="watched"' in lag[1]
    assert 'env="CartPole-v1"' in lag[1]
    assert float(lag[2]) <= 1.0
    assert "ray_distpolicy_lag_rows_0" in found
    assert re.search(r'^ray_distpolicy_faults\{.*run="watched".*\} 0', found, re.MULTILINE)
    assert re.search(r"\bcollector-0 +CartPole-v1-", actors), actors
    assert re.search(r"\blearner +CartPole-v1-", actors), actors


def _page(port: int, token: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _actors(head: RayHead) -> str:
    """What ``ray list actors`` shows: the name and the namespace of each actor, among other things."""
    variables = environment(**head.environment(), RAY_AUTH_MODE="token", RAY_ADDRESS=head.dashboard)
    command = [str(RAY), "list", "actors", "--format", "json"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return "\n".join(f"{actor['name']} {actor['ray_namespace']}" for actor in json.loads(done.stdout))
