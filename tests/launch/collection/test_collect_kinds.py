"""`distpolicy collect` with the kinds of envs, policies and Rays that it takes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from collect_runs import (
    ONE,
    QUICK,
    check_tidy,
    check_whole,
    collect,
    collected,
    collected_here,
    rows_in_bytes,
    sorted_steps,
)
from commands import no_process_left  # noqa: F401

from distpolicy.utils.nests.array_nest import flatten
from workers.datasets.episode_index import SlotLimits
from workers.environments.factory import EnvironmentFactory

TF_AGENTS_POLICIES = Path(__file__).resolve().parents[2] / "distpolicy" / "policies" / "data"


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_slots_in_processes_with_a_wrapper_that_takes_arguments_give_the_rows_of_slots_in_one(tmp_path: Path) -> None:
    wrapper = 'gymnasium.wrappers.TimeLimit{"max_episode_steps": 9}'
    kind = ("--vectorization", "async", "--wrappers", wrapper)
    output = collected(*QUICK, *kind, "--collectors", "2", "--steps", "400", "--out", "data", cwd=tmp_path)
    assert "CartPole-v1: 2 collectors, 4 envs, async (as asked for)" in output
    check_whole(tmp_path / "data", 400)
    check_tidy(tmp_path / "data")
    steps = sorted_steps(tmp_path / "data")
    assert steps["t"].max() == 8
    assert steps["truncated"].any()
    factory = EnvironmentFactory("CartPole-v1", "sync", wrappers=(wrapper,))
    limits = SlotLimits(next_steps=dict.fromkeys(range(4), 100))
    collected_here(tmp_path / "here", factory, range(4), limits)
    assert rows_in_bytes(tmp_path / "data") == rows_in_bytes(tmp_path / "here")


@pytest.mark.usefixtures("no_process_left")
def test_envpool_collects_what_it_does_in_one_process(tmp_path: Path) -> None:
    pytest.importorskip("envpool")
    kind = ("--vectorization", "envpool", "--collectors", "2")
    result = collect(*QUICK, *kind, "--steps", "400", "--out", "data", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "CartPole-v1: 2 collectors, 4 envs, envpool (as asked for)" in result.stdout
    check_whole(tmp_path / "data", 400)
    limits = SlotLimits(next_steps=dict.fromkeys(range(4), 100))
    collected_here(tmp_path / "here", EnvironmentFactory("CartPole-v1", "envpool"), range(4), limits)
    assert rows_in_bytes(tmp_path / "data") == rows_in_bytes(tmp_path / "here")


@pytest.mark.slow
def test_a_policy_that_tf_agents_saved_collects(tmp_path: Path) -> None:
    with zipfile.ZipFile(TF_AGENTS_POLICIES / "tf_agents_greedy.zip") as archive:
        archive.extractall(tmp_path / "policy")
    env = ("--env", "toy_envs:ThreeNumbersEnv", "--policy", "policy")
    collected(*ONE, *env, "--episodes", "40", "--out", "data", cwd=tmp_path)
    steps = sorted_steps(tmp_path / "data")
    assert set(steps["action"].tolist()) == set(range(4))
    assert np.array_equal(steps["reward"], steps["action"])


def save_recurrent_policy(folder: Path) -> None:
    from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
    from distpolicy.policies.actor_policy import ActorPolicy
    from distpolicy.policies.policy_saver import PolicySaver

    env = EnvironmentFactory("CartPole-v1", "sync")(1)
    network = ActorDistributionRnnNetwork(
        env.time_step_spec.observation, env.action_spec, input_fc_layer_params=None, lstm_size=(4,)
    )
    PolicySaver(ActorPolicy(env.time_step_spec, env.action_spec, network, emit_log_probability=True)).save(str(folder))


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_recurrent_policy_collects_the_same_rows_on_collectors_and_on_a_server(tmp_path: Path) -> None:
    save_recurrent_policy(tmp_path / "policy")
    job = (*QUICK, "--policy", "policy", "--steps", "400")
    for place, inference in (("here", "auto"), ("there", "server")):
        output = collected(*job, "--collectors", "2", "--inference", inference, "--out", place, cwd=tmp_path)
        assert ("server: " in output) == (place == "there")
        check_whole(tmp_path / place, 400)
    here, there = sorted_steps(tmp_path / "here"), sorted_steps(tmp_path / "there")
    infos = [steps.pop("policy_info").log_probability for steps in (here, there)]
    assert np.all(infos[0] < 0)
    # The size of a batch decides in which order sums are taken.
    np.testing.assert_allclose(*infos, rtol=0, atol=1e-6)
    for one, other in zip(flatten(here), flatten(there), strict=True):
        assert np.array_equal(one, other)


@pytest.fixture
def running_ray() -> Iterator[str]:
    """The address of a Ray that somebody else has started."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.mark.usefixtures("no_process_left")
def test_a_ray_that_runs_is_used_and_left_running(running_ray: str, tmp_path: Path) -> None:
    collected(*ONE, "--steps", "200", "--address", running_ray, "--out", "data", cwd=tmp_path)
    check_whole(tmp_path / "data", 200)
    assert ray.cluster_resources()["CPU"] == 2
