"""What offline agents learn from data of a mixed policy, on fixed seeds: more than the data's own returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import distpolicy, read_metrics
from scripted_datasets import cartpole_mixed, mean_return, pendulum_mixed, write

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.networks.network_config import NetworkConfig
from launch.config.train import TrainConfig
from launch.training.run import TrainingRun

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", name="datasets")
def datasets_fixture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    return {
        "CartPole-v1": write(folder / "cartpole", "CartPole-v1", cartpole_mixed, num_steps=1500, num_envs=16),
        "Pendulum-v1": write(folder / "pendulum", "Pendulum-v1", pendulum_mixed, num_steps=2000, num_envs=16),
    }


@pytest.mark.parametrize(
    ("env", "kind", "settings", "least"),
    [
        ("CartPole-v1", "marwil", {}, 450.0),
        ("CartPole-v1", "iql", {}, 450.0),
        ("CartPole-v1", "cql", {}, 450.0),
        ("Pendulum-v1", "marwil", {}, -350.0),
        ("Pendulum-v1", "iql", {"reward_scale": 0.1}, -550.0),
        ("Pendulum-v1", "cql", {"learning_rate": 1e-3, "actor_learning_rate": 1e-3, "num_cql_samples": 4}, -350.0),
    ],
)
def test_an_offline_agent_learns_more_than_the_data_show(
    datasets: dict[str, str], tmp_path: Path, env: str, kind: str, settings: dict[str, Any], least: float
) -> None:
    config = TrainConfig(
        env=env,
        dataset=(datasets[env],),
        total_steps=10_000,
        eval_episodes=20,
        collectors=1,
        envs_per_collector=20,
        network=NetworkConfig(activation="relu"),
        agent=AgentConfig.of_kind(kind)(**settings),
    )
    with TrainingRun(config, serial=True, run_dir=tmp_path / "run") as run:
        run.run()
    reached = float(read_metrics(tmp_path / "run")[-1]["eval_return_mean"])
    assert reached > least > mean_return(datasets[env])


def test_a_policy_becomes_data_and_data_become_a_policy_again(tmp_path: Path) -> None:
    """The loop of docs/offline.md, through Ray."""

    def run(*arguments: str) -> str:
        result = distpolicy(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    run("train", "--env", "CartPole-v1", "--total-steps", "60000", "--eval-episodes", "0", "--run-dir", "trained")
    run("collect", "--policy", "trained", "--stochastic", "--episodes", "100", "--num-envs", "16", "--out", "data")
    output = run("train", "--agent", "bc", "--dataset", "data", "--total-steps", "3000", "--run-dir", "cloned")
    assert "gradient steps 3,000/3,000" in output
    assert "evaluation of the greedy policy" in output
    clone = float(read_metrics(tmp_path / "cloned")[-1]["eval_return_mean"])
    assert clone > 0.8 * mean_return(str(tmp_path / "data"))
    assert "100 episodes" in run("evaluate", "cloned", "--episodes", "100")
    # What was learned is the same without an environment, and without Ray.
    run(
        "train",
        "--agent",
        "bc",
        "--dataset",
        "data",
        "--total-steps",
        "3000",
        "--eval-episodes",
        "0",
        "--run-dir",
        "no-env",
    )
    for name in ("policy", "collect_policy"):
        assert (tmp_path / "no-env" / name / "saved_model.pb").exists()
