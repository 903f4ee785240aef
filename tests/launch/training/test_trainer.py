"""The driver with real Ray actors; one Ray for the module."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import ray
from driver_runs import CONFIG, assert_same_state, make_driver, trained

from distpolicy.agents.reinforce.config import ReinforceConfig
from distpolicy.errors import ConfigError, SpecMismatchError, StaleWeightsError, WorkerLostError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.weights import Weights, checksum
from launch.supervision import calls
from launch.training.totals import UpdateResult
from launch.training.trainer import Trainer


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    # Drivers of several tests hold their collectors at the same time, on whatever cores there are.
    ray.init(address="local", num_cpus=16, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def driver() -> Iterator[Trainer]:
    driver = make_driver()
    yield driver
    driver.close()


def weights_of(driver: Trainer) -> Weights:
    return driver.get(driver.pipeline.weights)


def changed(weights: Weights, version: int, value: float) -> Weights:
    buffers = {dtype: np.full_like(buffer, value) for dtype, buffer in weights.buffers.items()}
    return Weights(weights.generation, version, weights.layout, buffers, checksum(buffers.values()))


Trained = tuple[dict[str, np.ndarray], list[UpdateResult]]


@pytest.fixture(scope="module")
def baseline() -> Trained:
    """What CONFIG comes to in 256 steps."""
    return trained(dataclasses.replace(CONFIG, total_steps=256))


def test_broadcast_returns_one_acknowledgement_of_each_collector(driver: Trainer) -> None:
    weights = changed(weights_of(driver), version=1_000, value=0.5)
    acknowledgements = driver.pipeline.broadcast(ray.put(weights))
    assert [item.receiver for item in acknowledgements] == ["collector 0", "collector 1"]
    assert {(item.generation, item.version, item.applied) for item in acknowledgements} == {(0, 1_000, True)}
    again = driver.pipeline.broadcast(ray.put(weights))
    assert not any(item.applied for item in again)


def test_zeroed_weights_reach_every_collector(driver: Trainer) -> None:
    """With all weights zero every action is equally likely, whatever is observed."""
    zeroed = changed(weights_of(driver), version=2_000, value=0.0)
    reference = ray.put(zeroed)
    answers = [handle.actor.rollout.options(num_returns=2).remote(reference) for handle in driver.handles]
    assert len(answers) == 2
    for rollout in driver.get([rollout for rollout, _ in answers]):
        np.testing.assert_allclose(rollout.policy_info.log_probability, np.log(0.5), rtol=1e-6)


def test_older_weights_are_refused_by_the_collector(driver: Trainer) -> None:
    newest = changed(weights_of(driver), version=3_000, value=0.1)
    driver.pipeline.broadcast(ray.put(newest))
    with pytest.raises(StaleWeightsError, match=r"collector \d holds weights \(0, 3000\)"):
        driver.pipeline.broadcast(ray.put(changed(newest, version=2_999, value=0.1)))


def test_weights_of_another_layout_are_refused_by_name(driver: Trainer) -> None:
    weights = changed(weights_of(driver), version=4_000, value=0.1)
    first, *rest = weights.layout
    other = dataclasses.replace(weights, layout=(first._replace(shape=(4, 9)), *rest))
    with pytest.raises(SpecMismatchError, match=first.path):
        driver.pipeline.broadcast(ray.put(other))


def test_two_runs_of_one_seed_end_with_the_same_bytes(baseline: Trained) -> None:
    state, outcomes = baseline
    again, _ = trained(dataclasses.replace(CONFIG, total_steps=256))
    assert_same_state(state, again)
    assert [outcome.totals.updates for outcome in outcomes] == list(range(1, len(outcomes) + 1))


def test_one_collector_and_two_over_the_same_slots_learn_the_same_bytes(baseline: Trained) -> None:
    one, _ = trained(dataclasses.replace(CONFIG, total_steps=256, collectors=1, envs_per_collector=8))
    assert_same_state(one, baseline[0])


@pytest.mark.slow
def test_reinforce_learns_the_same_bytes_from_one_collector_and_two() -> None:
    config = dataclasses.replace(CONFIG, total_steps=256, agent=ReinforceConfig())
    two, outcomes = trained(config)
    one, _ = trained(dataclasses.replace(config, collectors=1, envs_per_collector=8))
    assert_same_state(one, two)
    assert {"loss", "entropy", "whole_steps"} <= set(outcomes[-1].metrics)


@pytest.mark.release
@pytest.mark.slow
def test_another_seed_learns_something_else(baseline: Trained) -> None:
    other, _ = trained(dataclasses.replace(CONFIG, total_steps=256, seed=1))
    assert any(not np.array_equal(other[path], value) for path, value in baseline[0].items())


def test_env_steps_count_neither_resets_nor_twice() -> None:
    _, outcomes = trained(dataclasses.replace(CONFIG, total_steps=2_000))
    last = outcomes[-1].totals
    assert last.env_steps < last.updates * CONFIG.batch_size  # an episode of CartPole ends before 2,000 steps
    assert last.env_steps >= 2_000


@pytest.mark.release
@pytest.mark.slow
def test_restored_learner_goes_on_with_its_version_and_a_higher_generation(baseline: Trained) -> None:
    state, outcomes = baseline
    driver = make_driver(generation=1, state=state, totals=outcomes[-1].totals)
    weights = weights_of(driver)
    restored = driver.learner_state()
    driver.close()
    assert (weights.generation, weights.version) == (1, outcomes[-1].totals.updates)
    assert_same_state(restored, state)


@pytest.mark.release
@pytest.mark.slow
def test_state_of_another_architecture_is_refused(baseline: Trained) -> None:
    other = dataclasses.replace(CONFIG, network=NetworkConfig(actor_units=(9,)))
    with pytest.raises(ConfigError, match="actor_network"):
        make_driver(other, generation=1, state=baseline[0])


def test_a_worker_that_does_not_answer_in_time_is_an_error() -> None:
    @ray.remote
    def sleeper() -> None:
        import time

        time.sleep(60)

    with pytest.raises(WorkerLostError, match=r"no answer from a worker in 0\.5 s"):
        calls.get(sleeper.remote(), 0.5)


@pytest.mark.release
@pytest.mark.slow
def test_close_may_be_called_twice() -> None:
    driver = make_driver()
    driver.close()
    driver.close()


@pytest.mark.release
@pytest.mark.slow
def test_evaluation_does_not_depend_on_the_number_of_collectors() -> None:
    results = []
    for collectors in (1, 2):
        config = dataclasses.replace(CONFIG, collectors=collectors, envs_per_collector=8 // collectors)
        driver = make_driver(config)
        results.append(driver.evaluate(5))
        driver.close()
    assert results[0] == results[1]
    assert [len(result.returns) for result in results[0]] == [5]
