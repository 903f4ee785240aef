"""`distpolicy tune --address`: trials share the CPUs of a cluster, which runs on after the search."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from commands import distpolicy
from ray_head import ray_head

OPTIONS = ("--collectors", "1", "--envs-per-collector", "4", "--rollout-steps", "16", "--no-jit-compile")
OPTIONS += ("--network.actor-units", "8", "--ppo.value-units", "8", "--ppo.num-minibatches", "2")
# Trials last for longer than their starts lie apart.
SEARCH = ("--search", "ppo.num-epochs", "choice", "1", "2", "--samples", "2", "--steps", "60000", "--scheduler", "none")


@pytest.mark.slow
def test_a_search_uses_a_cluster_and_leaves_it_running(tmp_path: Path) -> None:
    with ray_head(tmp_path, "--num-cpus", "4") as head:
        options = (*OPTIONS, *SEARCH, "--out", "found", "--address", head.address)
        done = distpolicy("tune", *options, cwd=tmp_path, RAY_AUTH_MODE="token", **head.environment())
        assert done.returncode == 0, done.stdout + done.stderr
        assert "starting Ray" not in done.stdout
        found = distpolicy("doctor", "--address", head.address, cwd=tmp_path, **head.environment())
        assert "no Ray cluster" not in found.stdout + found.stderr
    with open(tmp_path / "found" / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished"] * 2
    runs = [tmp_path / "found" / row["run"] for row in rows]
    assert all((run / "policy" / "saved_model.pb").is_file() for run in runs)
    told = [json.loads((run / "run.json").read_text()) for run in runs]
    # The places that are reserved for trials are not machines.
    assert [run["starts"][0]["cluster"]["nodes"] for run in told] == [1, 1]
    assert max(run["starts"][0]["time"] for run in told) < min(run["end"]["time"] for run in told), (
        "one after the other"
    )
