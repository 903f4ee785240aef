"""Who sees a GPU: TensorFlow takes all the memory of those that it finds. Ray itself does not run here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory
from workers import actors
from workers.constructor_errors import keeping_constructor_error
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe

FACTORY = EnvironmentFactory("CartPole-v1")
NO_GPU, ONE_GPU = {"CPU": 1.0}, {"GPU": 1.0}


class Started:
    """Stands for an actor class: keeps what its process would see, and what it asks Ray for."""

    def __init__(self, worker: type, environment: Mapping[str, str]) -> None:
        self.name, self.gpus = worker.__name__, environment.get("CUDA_VISIBLE_DEVICES", "as Ray says")
        self.num_gpus = 0.0

    def options(self, num_gpus: float = 0.0, **others: Any) -> Started:
        self.num_gpus = num_gpus
        return self

    def remote(self, *arguments: Any, **keywords: Any) -> Started:
        return self


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (lambda: actors.start_collector(None, FACTORY, None), ("Collector", "-1", 0)),
        (lambda: actors.start_dataset_collector(None, FACTORY, None, None), ("DatasetCollector", "-1", 0)),
        (lambda: actors.start_policy_builder(None, None, None), ("PolicyBuilder", "-1", 0)),
        (lambda: actors.start_inference_server(None, None, None, 8, 0.0, NO_GPU), ("InferenceServer", "-1", 0)),
        (
            lambda: actors.start_inference_server(None, None, None, 8, 0.0, ONE_GPU),
            ("InferenceServer", "as Ray says", 1),
        ),
        (lambda: actors.start_learners(None, 0, 1, NO_GPU)[0], ("Learner", "-1", 0)),
        (lambda: actors.start_learners(None, 0, 1, ONE_GPU)[0], ("Learner", "as Ray says", 1)),
        (lambda: actors.start_learners(None, 0, 2, ONE_GPU)[1], ("LearnerReplica", "as Ray says", 1)),
    ],
)
def test_gpus_are_hidden_from_actors_that_do_not_ask_for_one(
    start: Any, expected: tuple[str, str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "_actor_class", Started)
    found = start()
    assert (found.name, found.gpus, found.num_gpus) == expected


def test_they_are_hidden_before_a_worker_imports_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    class Worker:
        def __init__(self) -> None:
            self.seen = os.environ["CUDA_VISIBLE_DEVICES"]

    assert keeping_constructor_error(Worker, {"CUDA_VISIBLE_DEVICES": "-1"})().seen == "-1"


def test_a_learner_does_not_take_all_memory_of_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    events: list[Any] = []

    def make_agent(*arguments: Any) -> None:
        events.append("agent")
        raise InterruptedError

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind} 0", f"{kind} 1"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grows: events.append((gpu, grows)))
    config = TrainConfig(jit_compile=False)
    monkeypatch.setattr(type(config.agent), "make_agent", make_agent)
    with pytest.raises(InterruptedError):
        AgentFactory(config, probe(FACTORY))()
    assert events == [("GPU 0", True), ("GPU 1", True), "agent"]
