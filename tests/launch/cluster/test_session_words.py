"""What a command says while it gets ready."""

from __future__ import annotations

import importlib

import pytest
from rich.console import Console

from distpolicy.errors import DistPolicyError
from launch.cluster import session
from launch.cluster.placement import Node


@pytest.mark.parametrize(
    ("free", "told"),
    [
        (2.0, "starting 2 collectors"),
        (1.0, "starting 2 collectors; waiting for 1 CPU"),
        (0.0, "starting 2 collectors; waiting for 2 CPUs"),
    ],
)
def test_cpus_that_are_not_free_are_told(monkeypatch: pytest.MonkeyPatch, free: float, told: str) -> None:
    nodes = [Node("a", {"CPU": 4.0}, {"CPU": free, "memory": 1.0})]
    monkeypatch.setattr(session, "nodes", lambda: nodes)
    assert session.describe_starting("2 collectors", 2) == told


def test_a_node_that_has_just_started_counts_with_all_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "nodes", lambda: [Node("a", {"CPU": 4.0}, {})])
    assert session.describe_starting("2 collectors", 2) == "starting 2 collectors"


@pytest.mark.parametrize(("address", "told"), [(None, "starting Ray"), ("h:1", "joining the Ray cluster at h:1")])
def test_the_way_to_ray_is_told_after_the_checks(
    monkeypatch: pytest.MonkeyPatch, address: str | None, told: str
) -> None:
    events: list[str] = []
    for name in ("this_machine", "check_reachable", "check_places"):
        monkeypatch.setattr(session, name, lambda *arguments, name=name, **options: events.append(name))
    for name in ("provide_token", "check_token"):
        monkeypatch.setattr(session.authentication, name, lambda: None)
    monkeypatch.setattr(session, "total_resources", lambda nodes: {})

    def start(*arguments: object) -> None:
        raise DistPolicyError("stop here")

    monkeypatch.setattr(session, "_start", start)
    connection = session.connected(address, on_preparing=events.append)
    with pytest.raises(DistPolicyError, match="stop here"):
        connection.__enter__()
    assert events[-1] == told
    assert len(events) > 1


@pytest.mark.parametrize("kind", ["training", "collection"])
def test_the_console_shows_what_is_prepared(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    observer, console = (importlib.import_module(f"launch.{kind}.{name}") for name in ("observer", "console"))
    observer.Observers([console.ConsoleObserver(Console(), 0.0)]).on_preparing("starting Ray")
    assert capsys.readouterr().out == "starting Ray\n"
