"""Two learners as actors of a real Ray; one group for the module, started anew where a test has broken it."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ray
from driver_runs import CONFIG, Recorder, kill, make_driver, process_id

from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.trajectories.rollout import Rollout
from launch.supervision import calls
from launch.training.factories import AgentFactory, PolicyFactory
from launch.training.learner_group import LearnerGroup
from workers.actors import start_learners
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.probe import probe
from workers.learning.learner import Learner

# Minibatches of several learners are drawn from their parts: only the whole is the same for one.
TWO = dataclasses.replace(
    CONFIG,
    learners=2,
    agent=dataclasses.replace(CONFIG.agent, num_minibatches=1, normalize_observations=True, normalize_rewards=True),
)
ENVIRONMENT = TWO.environment_factory
SPECS = probe(ENVIRONMENT)
TIMEOUT_S = 300.0
State = dict[str, np.ndarray]


# Several learners take as many processes with TensorFlow.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


@pytest.fixture(scope="module")
def started() -> Iterator[LearnerGroup]:
    group = LearnerGroup(
        lambda generation: start_learners(AgentFactory(TWO, SPECS), generation, 2, {}, max_policy_lag=100)
    )
    group.start(0)
    yield group
    group.kill()


@pytest.fixture(scope="module")
def learner() -> Learner:
    return Learner(AgentFactory(TWO, SPECS), max_policy_lag=100)


@pytest.fixture(scope="module")
def beginning(learner: Learner) -> State:
    return {name: value.copy() for name, value in learner.state().items()}


@pytest.fixture(scope="module")
def rollouts(learner: Learner) -> list[Rollout]:
    weights = learner.weights()
    collectors = [
        Collector(CollectorConfig(index, 4 * index, 4, 8, seed=0), ENVIRONMENT, PolicyFactory(TWO))
        for index in range(2)
    ]
    return [collector.rollout(weights)[0] for collector in collectors]


@pytest.fixture
def group(started: LearnerGroup, beginning: State) -> LearnerGroup:
    """The group as it was at the beginning."""
    get(started.restore(beginning))
    return started


def get(references: Any) -> Any:
    return calls.get(references, TIMEOUT_S)


def bytes_of(state: State) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in state.items()}


@ray.remote(max_retries=0)
def lost_rollout() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_learners_with_a_rollout_each_come_to_what_one_does_with_both(
    group: LearnerGroup, learner: Learner, beginning: State, rollouts: list[Rollout]
) -> None:
    learner.restore(beginning)
    references = [ray.put(rollout) for rollout in rollouts]
    for update in range(3):
        weights, metrics = learner.update(update / 3, *rollouts)
        found, found_metrics = get(list(group.update(update / 3, references)))
        assert (found.generation, found.version) == (0, update + 1)
        for kind, buffer in weights.buffers.items():
            np.testing.assert_allclose(found.buffers[kind], buffer, rtol=1e-4, atol=1e-5)
        assert set(found_metrics) == set(metrics)
        for name in set(metrics) - {"update_s", "learner_wait_s", "learner_other_s"}:
            assert found_metrics[name] == pytest.approx(metrics[name], rel=1e-3, abs=1e-5), name
    states = get([actor.state.remote() for actor in group.actors])
    assert bytes_of(states[0]) == bytes_of(states[1])
    assert set(states[0]) == set(learner.state())


def test_policy_lag_is_that_of_the_oldest_rollout_of_any_learner(
    group: LearnerGroup, beginning: State, rollouts: list[Rollout]
) -> None:
    get(group.restore({**beginning, "learner/version": np.asarray(5)}))
    newer = rollouts[0]._replace(weights_version=rollouts[0].weights_version + np.array([0, 4]))
    older = rollouts[1]._replace(weights_version=rollouts[1].weights_version + np.array([0, 2]))
    _, metrics = get(list(group.update(0.0, [ray.put(newer), ray.put(older)])))
    assert metrics["policy_lag"] == 3.0


def test_a_rollout_that_is_too_old_is_refused_by_every_learner_and_none_waits_for_another(
    group: LearnerGroup, beginning: State, rollouts: list[Rollout]
) -> None:
    get(group.restore({**beginning, "learner/version": np.asarray(200)}))
    newer = rollouts[0]._replace(weights_version=rollouts[0].weights_version + np.array([0, 199]))
    with pytest.raises(DistPolicyError, match="200 versions old; max_policy_lag allows 100"):
        get(list(group.update(0.0, [ray.put(newer), ray.put(rollouts[1])])))
    _, metrics = get(list(group.update(0.0, [ray.put(newer), ray.put(newer)])))
    assert metrics["policy_lag"] == 1.0


def test_warming_up_leaves_every_learner_as_it_was(group: LearnerGroup, beginning: State) -> None:
    assert get(group.warm_up(8, 8)) > 0.0
    for state in get([actor.state.remote() for actor in group.actors]):
        assert bytes_of(state) == bytes_of(beginning)


def test_a_state_of_another_architecture_is_refused_by_all(group: LearnerGroup, beginning: State) -> None:
    other = dict(beginning)
    del other["train_step"]
    for reference in group.restore(other):
        with pytest.raises(ConfigError, match="train_step"):
            get(reference)


def test_a_lost_rollout_fails_the_update_and_changes_no_learner(
    group: LearnerGroup, beginning: State, rollouts: list[Rollout]
) -> None:
    whole = ray.put(rollouts[0])
    for parts in ([whole, lost_rollout.remote()], [lost_rollout.remote(), whole]):
        with pytest.raises(DistPolicyError):
            get(group.update(0.0, parts)[1])
    for state in get([actor.state.remote() for actor in group.actors]):
        assert bytes_of(state) == bytes_of(beginning)
    weights, _ = get(list(group.update(0.0, [whole, ray.put(rollouts[1])])))
    assert weights.version == 1


@pytest.mark.slow
def test_a_group_that_hangs_can_be_killed_and_a_new_one_comes_to_the_same(
    group: LearnerGroup, beginning: State, rollouts: list[Rollout]
) -> None:
    parts = [ray.put(rollout) for rollout in rollouts]
    expected = bytes_of(get([group.update(0.0, parts)[1], group.state()])[1])
    get(group.restore(beginning))
    processes = [process_id(actor) for actor in group.actors]
    taken = [actor.take.remote(part) for actor, part in zip(group.actors, parts, strict=True)]
    get(taken)
    os.kill(processes[1], signal.SIGSTOP)
    _, metrics = group.actors[0].learn.options(num_returns=2).remote(0.0, *taken)
    done, _ = ray.wait([metrics], timeout=2.0)
    assert not done
    group.kill()
    with pytest.raises(DistPolicyError):
        get(metrics)
    deadline = time.monotonic() + TIMEOUT_S
    while any(os.path.exists(f"/proc/{process}") for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    group.start(1)
    get(group.restore(beginning))
    weights, metrics = group.update(0.0, parts)
    assert get(weights).generation == 1
    assert bytes_of(get(group.state())) == expected


@pytest.mark.slow
def test_a_learner_that_fails_alone_does_not_leave_the_other_waiting(
    group: LearnerGroup, rollouts: list[Rollout]
) -> None:
    shorter = rollouts[1]._replace(reward=rollouts[1].reward[:, :-1])
    _, metrics = group.update(0.0, [ray.put(rollouts[0]), ray.put(shorter)])
    with pytest.raises(DistPolicyError, match="Unavailable"):
        get(metrics)
    group.kill()


@pytest.mark.release
@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint_when_one_of_its_learners_or_a_collector_is_killed() -> None:
    config = dataclasses.replace(TWO, total_steps=8 * TWO.batch_size, checkpoint_every=2)

    def then(recorder: Recorder) -> None:
        num_updates = len(recorder.outcomes)
        if num_updates == 3:
            kill(driver.learners.actors[1])
        elif num_updates == 5:
            kill(driver.handles[0].actor)

    recorder = Recorder(then)
    driver = make_driver(config, recorder=recorder)
    try:
        list(driver.updates())
        states = get([actor.state.remote() for actor in driver.learners.actors])
    finally:
        driver.close()
    assert int(states[0]["learner/version"]) == driver.totals.updates
    assert bytes_of(states[0]) == bytes_of(states[1])
    assert recorder.losses[0].what == "learner"
    assert len(recorder.losses) == 2
    assert recorder.returns_to[0].updates in (2, 4)
    assert all(outcome.metrics["policy_lag"] == 0.0 for outcome in recorder.outcomes)
