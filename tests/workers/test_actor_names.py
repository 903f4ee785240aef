"""What actors are called, as Ray's dashboard shows them. Ray itself does not run here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from workers import actors
from workers.collection.collector import CollectorConfig
from workers.environments.factory import EnvironmentFactory

FACTORY = EnvironmentFactory("CartPole-v1")
FIRST, SECOND = (CollectorConfig(2, 0, 1, 8, 0, generation=generation) for generation in (0, 3))


class Started:
    """Stands for an actor class, and keeps the name that it asks Ray for."""

    def __init__(self, worker: type, environment: Mapping[str, str]) -> None:
        self.called: tuple[str | None, str | None] = (None, None)

    def options(self, name: str | None = None, namespace: str | None = None, **others: Any) -> Started:
        self.called = (namespace, name) if name is not None else self.called
        return self

    def remote(self, *arguments: Any, **keywords: Any) -> Started:
        return self


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (lambda: actors.start_collector(FIRST, FACTORY, None, namespace="run"), "collector-2"),
        (lambda: actors.start_collector(SECOND, FACTORY, None, namespace="run"), "collector-2-generation3"),
        (lambda: actors.start_dataset_collector(FIRST, FACTORY, None, None, namespace="run"), "collector-2"),
        (lambda: actors.start_policy_builder(None, None, None, "run"), "policy-builder"),
        (lambda: actors.start_inference_server(None, None, None, 8, 0.0, {}, namespace="run"), "inference-server"),
        (lambda: actors.start_learners(None, 0, 1, {}, namespace="run")[0], "learner"),
        (lambda: actors.start_learners(None, 0, 2, {}, namespace="run")[1], "learner-1"),
        (lambda: actors.start_policy_keeper("served-keeper", "run"), "served-keeper"),
        (lambda: actors.start_policy_loader(Path(), "tf", 8, False, "served-loader", "run"), "served-loader"),
    ],
)
def test_an_actor_has_a_name_that_says_what_it_is(start: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "_actor_class", Started)
    assert start().called == ("run", name)


def test_the_namespaces_of_two_runs_differ_and_begin_with_the_environment() -> None:
    first, second = (actors.actor_namespace("CartPole-v1") for _ in range(2))
    assert first != second
    assert first.startswith("CartPole-v1-")
    assert second.startswith("CartPole-v1-")
