"""`distpolicy tune --address`: trials share the CPUs of a cluster, which runs on after the search."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from commands import distpolicy
from ray_head import ray_head

OPTIONS = ("--collectors", "1", "--envs-per-collector", "4", "--rollout-steps", "16", "--no-jit-compile")
OPTIONS += ("--network.actor-units", "8", "--ppo.value-units", "8", "--ppo.num-minibatches", "2")
SEARCH = ("--search", "ppo.num-epochs", "choice", "1", "2", "--samples", "2", "--steps", "640", "--scheduler", "none")


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
    assert all((tmp_path / "found" / row["run"] / "policy" / "saved_model.pb").is_file() for row in rows)
