"""Off-policy training on a real Ray: the same bytes however it is spread and timed, also when it goes on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from driver_runs import CONFIG, Recorder, assert_same_state, kill, numbers_of, run_until_done, trained
from replay_checks import check_replay, transitions

from distpolicy.agents.categorical_dqn.config import C51Config
from distpolicy.agents.ddpg.config import DDPGConfig
from distpolicy.agents.dqn.config import DQNConfig
from distpolicy.agents.experience_config import Replay
from distpolicy.agents.r2d2.config import R2D2Config
from distpolicy.agents.sac.config import SACConfig
from distpolicy.agents.td3.config import TD3Config
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("local_ray")

SMALL: dict[str, Any] = {
    "replay_capacity": 400,
    "batch_size": 8,
    "updates_per_call": 4,
    "samples_per_insert": 2.0,
    "learning_starts": 100,
}
DQN = dataclasses.replace(CONFIG, env="uneven_env:UnevenCartPole", total_steps=800, agent=DQNConfig(**SMALL))
SAC = dataclasses.replace(CONFIG, env="Pendulum-v1", total_steps=800, agent=SACConfig(**SMALL, critic_units=(8,)))
TD3 = dataclasses.replace(SAC, agent=TD3Config(**SMALL, critic_units=(8,)))
DDPG = dataclasses.replace(SAC, agent=DDPGConfig(**SMALL, critic_units=(8,)))
DISCRETE_SAC = dataclasses.replace(DQN, agent=SAC.agent)
C51 = dataclasses.replace(DQN, agent=C51Config(**SMALL, num_atoms=5))
R2D2 = dataclasses.replace(
    DQN,
    network=NetworkConfig(actor_units=(8,), recurrent="lstm", recurrent_units=(4,)),
    agent=R2D2Config(**{**SMALL, "samples_per_insert": 16.0}, sequence_length=8, burn_in=2, epsilon_spread=7.0),
)
PRIORITISED = dataclasses.replace(DQN, agent=dataclasses.replace(DQN.agent, priority_exponent=0.6, n_step=3))


def with_lag(config: TrainConfig, lag: int) -> TrainConfig:
    return dataclasses.replace(config, max_policy_lag=lag)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(with_lag(DQN, 1), id="dqn-lag"),
        pytest.param(PRIORITISED, id="prioritised", marks=pytest.mark.slow),
        pytest.param(C51, id="c51", marks=pytest.mark.slow),
        pytest.param(R2D2, id="r2d2", marks=pytest.mark.slow),
        pytest.param(with_lag(R2D2, 1), id="r2d2-lag", marks=pytest.mark.slow),
        pytest.param(DISCRETE_SAC, id="discrete-sac", marks=pytest.mark.slow),
        pytest.param(TD3, id="td3", marks=pytest.mark.slow),
        pytest.param(DDPG, id="ddpg", marks=pytest.mark.slow),
        pytest.param(SAC, id="sac", marks=pytest.mark.slow),
        pytest.param(with_lag(SAC, 2), id="sac-lag", marks=pytest.mark.slow),
    ],
)
def test_two_runs_and_one_collector_end_with_the_same_bytes(config: TrainConfig) -> None:
    uneven = dataclasses.replace(config, env_kwargs={"max_delay_s": 0.01}) if "uneven" in config.env else config
    first, outcomes = trained(config)
    second, _ = trained(uneven)
    alone, _ = trained(dataclasses.replace(config, collectors=1, envs_per_collector=8))
    assert_same_state(first, second)
    assert_same_state(first, alone)
    assert "loss" not in outcomes[0].metrics, "nothing is learned before learning_starts"
    assert np.isfinite(outcomes[-1].metrics["loss"])
    # Samples for each transition after the first hundred, in whole calls.
    inserted = int(first["experience/debt/num_inserted"])
    (step,) = (value for path, value in first.items() if path.endswith("train_step_counter"))
    replay = config.agent.experience(config.shape)
    assert isinstance(replay, Replay)
    due = int((inserted - replay.min_size) * replay.samples_per_insert)
    assert int(step) == due // replay.samples_per_call * replay.num_updates


@pytest.mark.slow
def test_a_run_that_goes_on_has_its_replay_buffer_and_goes_on_alike_every_time() -> None:
    # Nothing is written over.
    config = dataclasses.replace(DQN, agent=dataclasses.replace(DQN.agent, replay_capacity=2_000))
    state, first = trained(dataclasses.replace(config, total_steps=400))
    totals = first[-1].totals
    check_replay(state, totals.env_steps, config)
    ends = [trained(config, 1, state, totals) for _ in range(2)]
    assert_same_state(ends[0][0], ends[1][0])
    check_replay(ends[0][0], ends[0][1][-1].totals.env_steps, config)
    assert transitions(state) < transitions(ends[0][0]), "the rows from before are still there"
    assert "loss" in ends[0][1][1].metrics, "it learns from the first updates on"


def by_arrival(config: TrainConfig, lag: int) -> TrainConfig:
    return dataclasses.replace(with_lag(config, lag), rollout_order="arrival", env_kwargs={"max_delay_s": 0.004})


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["collector", "learner"])
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(DQN, id="dqn"),
        pytest.param(with_lag(PRIORITISED, 2), id="prioritised-lag"),
        pytest.param(by_arrival(DQN, 2), id="dqn-arrival"),
        pytest.param(by_arrival(R2D2, 1), id="r2d2-arrival"),
    ],
)
def test_no_transition_counts_twice_when_a_worker_is_killed(run: TrainConfig, victim: str) -> None:
    def then(driver: Trainer, recorder: Recorder) -> None:
        if len(recorder.outcomes) == 7:
            kill(driver.handles[0].actor if victim == "collector" else driver.learners.actors[0])
        if (recorder.recoveries or recorder.returns_to) and recorder.outcomes[-1].totals.updates >= 20:
            driver.stop()

    agent = dataclasses.replace(run.agent, replay_capacity=100_000)
    config = dataclasses.replace(run, total_steps=100_000, checkpoint_every=3, agent=agent)
    recorder = run_until_done(config, then)
    assert recorder.saved is not None
    totals = recorder.saved.totals
    assert totals == recorder.outcomes[-1].totals
    check_replay(recorder.saved.state, totals.env_steps, config)
    if victim == "learner":
        assert recorder.returns_to
    else:
        assert len(recorder.losses) == 1
        assert totals.env_steps == sum(report.num_env_steps for report in recorder.reports)
        for numbers in numbers_of(recorder.reports).values():
            assert sorted(numbers) == list(range(len(numbers)))
