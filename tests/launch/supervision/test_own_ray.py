"""A Ray of our own whose processes end. Ray itself does not run here."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from distpolicy.errors import WorkerLostError
from launch.supervision.own_ray import check_alive


class Node:
    """What Ray keeps of the processes that it has started."""

    def __init__(self, **processes: subprocess.Popen[bytes]) -> None:
        self.all_processes = {kind: [SimpleNamespace(process=process)] for kind, process in processes.items()}

    def dead_processes(self) -> list[tuple[str, Any]]:
        return [
            (kind, info.process)
            for kind, infos in self.all_processes.items()
            for info in infos
            if info.process.poll() is not None
        ]


def sleeping(seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", f"import time; time.sleep({seconds})"])


@pytest.mark.parametrize(("kind", "name"), [("raylet", "raylet"), ("gcs_server", "GCS")])
def test_a_part_that_ray_needs_and_that_has_ended_is_named_with_what_to_do(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = sleeping(60)
    monkeypatch.setattr(ray._private.worker, "_global_node", Node(**{kind: process}))
    check_alive()
    process.kill()
    with pytest.raises(WorkerLostError, match=f"the {name} of the Ray .*--resume"):
        check_alive(10.0)


def test_it_waits_for_a_part_that_is_about_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray._private.worker, "_global_node", Node(raylet=sleeping(0.3)))
    with pytest.raises(WorkerLostError, match="the raylet"):
        check_alive(20.0)


def test_other_parts_and_a_ray_that_was_joined_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    process = sleeping(0)
    process.wait()
    for node in (Node(log_monitor=process), Node(), None):
        monkeypatch.setattr(ray._private.worker, "_global_node", node)
        check_alive()
