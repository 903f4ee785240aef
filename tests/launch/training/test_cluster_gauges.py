"""On a cluster, Prometheus finds a run's metrics at the node of the driver."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from commands import environment
from ray_head import free_ports, ray_head

OPTIONS = ("--collectors", "1", "--envs-per-collector", "8", "--max-policy-lag", "1", "--run-dir", "watched")


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
            found = ""
            # Until it is there: a time limit would be one of the machine.
            while "distpolicy_policy_lag_mean" not in found:
                assert run.poll() is None, run.communicate()[0]
                time.sleep(0.5)
                found = _page(port, head.token)
        finally:
            run.terminate()
            run.communicate()
    lag = re.search(r"^ray_distpolicy_policy_lag_mean\{(.*)\} ([\d.]+)$", found, re.MULTILINE)
    assert lag is not None
    assert 'run="watched"' in lag[1]
    assert 'env="CartPole-v1"' in lag[1]
    assert float(lag[2]) <= 1.0
    assert "ray_distpolicy_lag_rows_0" in found


def _page(port: int, token: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
