"""Training with an inference server: the same rollouts, and a server that is killed is replaced."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from driver_runs import CONFIG, Recorder, Stop, kill, make_driver, numbers_of, run_until_stopped, trained

from distpolicy.networks.network_config import NetworkConfig
from launch.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("local_ray")

SHORT = dataclasses.replace(CONFIG, total_steps=600)
SERVED = dataclasses.replace(SHORT, inference="server")


RECURRENT = NetworkConfig(actor_units=(8,), recurrent="gru", recurrent_units=(6,))


@pytest.mark.slow
@pytest.mark.parametrize(("network", "lag"), [(CONFIG.network, 0), (RECURRENT, 0), (RECURRENT, 2)])
def test_a_server_gives_the_rollouts_that_collectors_make_themselves(network: NetworkConfig, lag: int) -> None:
    more: dict[str, Any] = {"network": network, "max_policy_lag": lag}
    own, outcomes = trained(dataclasses.replace(SHORT, **more))
    served, served_outcomes = trained(dataclasses.replace(SERVED, **more))
    # A larger batch may round otherwise in the last bit of a policy's output, and actions are drawn alike.
    for ours, theirs in zip(outcomes, served_outcomes, strict=True):
        assert [report.episode_returns for report in ours.reports] == [
            report.episode_returns for report in theirs.reports
        ]
        assert ours.metrics["policy_lag"] == theirs.metrics["policy_lag"]
    for path, value in own.items():
        np.testing.assert_allclose(value, served[path], rtol=1e-3, atol=1e-4, err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["fixed", "arrival"])
def test_a_server_that_is_killed_is_replaced_and_nothing_is_counted_twice(order: str) -> None:
    def then(trainer: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 5:
            assert trainer.server is not None
            kill(trainer.server.actor)
        if recorder.recoveries and {report.generation for report in recorder.outcomes[-1].reports} == {1, 2}:
            raise Stop

    config = dataclasses.replace(
        SERVED, max_policy_lag=1, rollout_order=order, total_steps=100_000, eval_every=4, eval_episodes=2
    )
    returns: list[float] = []
    recorder = run_until_stopped(config, then, lambda trainer: returns.extend(trainer.evaluate(2)[0].returns))
    assert returns
    assert [outcome.totals.updates for outcome in recorder.outcomes] == list(range(1, len(recorder.outcomes) + 1))
    assert {fault.reason for fault in recorder.losses} >= {"its inference server was lost"}
    for numbers in numbers_of(recorder.reports).values():
        assert sorted(numbers) == list(range(len(numbers)))
    assert max(outcome.metrics["policy_lag"] for outcome in recorder.outcomes) <= 1


@pytest.mark.slow
def test_a_server_and_a_learner_that_are_killed_at_once_as_with_their_node_are_replaced() -> None:
    def then(trainer: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 5:
            assert trainer.server is not None
            kill(trainer.server.actor)
            kill(trainer.learners.actors[0])
        if recorder.returns_to and recorder.outcomes[-1].totals.updates == 8:
            raise Stop

    config = dataclasses.replace(SERVED, max_policy_lag=1, total_steps=100_000, checkpoint_every=2)
    recorder = run_until_stopped(config, then)
    back_to = recorder.returns_to[0].updates
    updates = [outcome.totals.updates for outcome in recorder.outcomes]
    assert updates[-(8 - back_to) :] == list(range(back_to + 1, 9))
    assert len([fault for fault in recorder.losses if fault.what == "learner"]) == 1
    assert max(outcome.metrics["policy_lag"] for outcome in recorder.outcomes) <= 1


@pytest.mark.slow
def test_collectors_of_a_server_refuse_to_mix_weights() -> None:
    trainer = make_driver(SERVED)
    try:
        next(iter(trainer.updates()))
        with pytest.raises(Exception, match="takes whole weights"):
            trainer.pipeline.broadcast(trainer.pipeline.weights, tau=0.5)
    finally:
        trainer.close()
