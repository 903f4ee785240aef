"""A policy server refuses what cannot be before it loads a policy."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from distpolicy.errors import ConfigError
from launch.cluster.placement import Node
from launch.config.serve import ServeConfig
from launch.serving import server


def test_replicas_that_never_fit_on_the_machine_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "saved_model.pb").touch()
    # A cluster whose other node has room. At a loopback address it does not help.
    here, there = (Node(name, {"CPU": cpus}, {"CPU": cpus}, name) for name, cpus in (("here", 2.0), ("there", 8.0)))
    monkeypatch.setattr(server, "connected", lambda *arguments: contextlib.nullcontext())
    monkeypatch.setattr(server, "nodes", lambda: [here, there])
    monkeypatch.setattr(server, "_is_here", lambda node: node is here)
    config = ServeConfig(port=0, replicas=4, address="auto")
    with (
        pytest.raises(ConfigError, match="--replicas 4 do not fit on this machine, which has room for 2"),
        server.PolicyServer(tmp_path, config),
    ):
        pass
