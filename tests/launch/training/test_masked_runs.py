"""Runs with masks of actions: no forbidden action is taken, in rollouts or in evaluations."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from commands import distpolicy
from training_runs import IMPORTABLE

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.agents.td3.config import TD3Config
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.policies.policy_loader import load
from launch.config.run_specs import run_specs
from launch.config.train import TrainConfig
from launch.training.run import TrainingRun

ON_POLICY = {"value_units": (8,), "num_minibatches": 2, "normalize_observations": True}
OFF_POLICY = {"replay_capacity": 1000, "learning_starts": 64, "batch_size": 16}
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": ON_POLICY,
    "impala": ON_POLICY,
    "appo": ON_POLICY,
    "reinforce": {},
    "dqn": {**OFF_POLICY, "exploration_fraction": 0.5},
    "c51": OFF_POLICY,
    "sac": {**OFF_POLICY, "critic_units": (8,)},
    "r2d2": {**OFF_POLICY, "sequence_length": 16, "burn_in": 0},
}


def config_of(kind: str, folder: Path, recurrent: Any = "none", **kwargs: Any) -> TrainConfig:
    return TrainConfig(
        env="masked_env:MaskedCorridor",
        env_kwargs={"told": str(folder / "told"), **kwargs},
        vectorization="sync",
        collectors=1,
        envs_per_collector=4,
        rollout_steps=16,
        total_steps=640,
        eval_episodes=4,
        jit_compile=False,
        network=NetworkConfig(actor_units=(8,), recurrent=recurrent, recurrent_units=(4,)),
        agent=AgentConfig.of_kind(kind)(**SETTINGS[kind]),
        action_mask="action_mask",
    )


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("ppo", {}),
        ("impala", {"dtype": "float32"}),
        ("appo", {"dtype": "bool", "further": True}),
        ("dqn", {}),
        pytest.param("ppo", {"recurrent": "lstm"}, marks=pytest.mark.slow),
        pytest.param("reinforce", {}, marks=pytest.mark.slow),
        pytest.param("c51", {"further": True}, marks=pytest.mark.slow),
        pytest.param("sac", {"further": True}, marks=pytest.mark.slow),
        pytest.param("r2d2", {"recurrent": "lstm"}, marks=pytest.mark.slow),
    ],
)
def test_no_forbidden_action_is_taken(kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    with TrainingRun(config_of(kind, tmp_path, **more), serial=True, run_dir=tmp_path / "run") as run:
        totals = run.run()
    assert totals.env_steps >= 640
    assert not (tmp_path / "told").exists(), (tmp_path / "told").read_text()
    # The exported policy takes observations as the environment gives them.
    assert "action_mask" in load(tmp_path / "run" / "policy").time_step_spec.observation


def test_a_run_without_the_setting_takes_forbidden_actions(tmp_path: Path) -> None:
    config = dataclasses.replace(config_of("ppo", tmp_path), action_mask=None, total_steps=64)
    with TrainingRun(config, serial=True, run_dir=tmp_path / "run") as run, pytest.raises(Exception, match="forbidden"):
        run.run()


def test_wrong_masks_are_refused_before_a_run_begins(tmp_path: Path) -> None:
    config = config_of("ppo", tmp_path)

    def refused(**changes: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            check(**changes)
        return str(caught.value)

    def check(**changes: Any) -> None:
        changed = dataclasses.replace(config, **changes)
        run_specs(changed, changed.environment_factory, in_this_process=True)

    assert refused(action_mask="masks") == (
        "action_mask masks is no key of the observations: take one of action_mask, place"
    )
    assert refused(action_mask="place") == (
        "action_mask place must be a bool or number for each action, of shape [4], but is float32[6]"
    )
    assert refused(env="CartPole-v1", env_kwargs={}) == (
        "action_mask action_mask is a key, but observations are not a dict: leave it out"
    )
    assert refused(agent=TD3Config()).startswith("action_mask is not for td3, which takes no masks of actions: take")


@pytest.mark.slow
def test_commands_keep_to_the_masks_of_a_run(tmp_path: Path) -> None:
    path = {"PYTHONPATH": IMPORTABLE}
    env = ("--env", "masked_env:MaskedCorridor", "--env-kwargs", "told", str(tmp_path / "told"))
    sizes = ("--collectors", "2", "--envs-per-collector", "4", "--rollout-steps", "16", "--ppo.num-minibatches", "2")
    steps = ("--total-steps", "1000", "--eval-episodes", "4", "--target-return", "None")
    run = distpolicy(
        "train", *env, *sizes, *steps, "--action-mask", "action_mask", "--run-dir", "run", cwd=tmp_path, **path
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for command in (
        ("train", "--resume", "run", "--total-steps", "2000"),
        ("evaluate", "run", "--episodes", "4", "--stochastic"),
        ("collect", *env, "--policy", "run", "--out", "data", "--steps", "200", "--collectors", "1"),
    ):
        done = distpolicy(*command, cwd=tmp_path, **path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "told").exists(), (tmp_path / "told").read_text()
