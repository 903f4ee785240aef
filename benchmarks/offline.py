"""Scores of the offline agents, from data of a trained policy and from data of a random one.

A policy is trained by its preset, and acts for the expert's data. Random actions make the other data. Each agent learns
from each of them on several seeds, by its preset, in this process. Evaluations are of 100 episodes on seeds of their
own. The table has means over the seeds with 95 % intervals (Student's t), beside the mean return of the data.

    python benchmarks/offline.py
    python benchmarks/offline.py --envs CartPole-v1 --agents bc cql --seeds 3 --steps 5000
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from preset_scores import interval
from reporting import print_header, print_table

from launch.config.presets import load_preset
from launch.output.metrics import read_rows
from launch.training.run import TrainingRun
from workers.datasets.reader import read_episodes

# Settings that the size of an environment's rewards asks for.
SETTINGS = {("Pendulum-v1", "iql"): {"reward_scale": 0.1}}
NUM_EPISODES = {"CartPole-v1": 100, "Pendulum-v1": 250}


def command(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "launch", *arguments], check=True, stdout=subprocess.DEVNULL)


def make_data(folder: Path, env: str, kind: str) -> str:
    """Collects a dataset of an expert or of chance; returns its folder."""
    policy = "random"
    if kind == "expert":
        policy = str(folder / f"{env}-expert")
        command("train", "--env", env, "--eval-episodes", "0", "--run-dir", policy)
    out = str(folder / f"{env}-{kind}-data")
    episodes = str(NUM_EPISODES[env])
    command("collect", "--env", env, "--policy", policy, "--episodes", episodes, "--num-envs", "16", "--out", out)
    return out


def score(env: str, dataset: str, agent: str, seed: int, steps: int, run_dir: Path) -> float:
    """The mean return of the greedy policy after a run."""
    config = load_preset(agent)
    settings = dataclasses.replace(config.agent, **SETTINGS.get((env, agent), {}))
    config = dataclasses.replace(
        config, env=env, dataset=(dataset,), agent=settings, seed=seed, total_steps=steps, envs_per_collector=100
    )
    with TrainingRun(config, run_dir=run_dir, serial=True) as run:
        run.run()
    return float(read_rows(run_dir / "metrics.csv")[-1]["eval_return_mean"])


def table(arguments: argparse.Namespace, folder: Path) -> Sequence[Sequence[str]]:
    """The lines of the table."""
    rows = []
    for env in arguments.envs:
        for kind in ("expert", "random"):
            dataset = make_data(folder, env, kind)
            returns = [float(episode["reward"].sum()) for episode in read_episodes(dataset, only_ended=True)]
            for agent in arguments.agents:
                scores = [
                    score(env, dataset, agent, seed, arguments.steps, folder / f"{env}-{kind}-{agent}-{seed}")
                    for seed in range(arguments.seeds)
                ]
                data = f"{np.mean(returns):,.1f}"
                rows.append([env, kind, data, agent, str(len(scores)), interval(scores, 1)])
                print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", default=list(NUM_EPISODES))
    parser.add_argument("--agents", nargs="+", default=["bc", "marwil", "iql", "cql"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10_000)
    arguments = parser.parse_args()
    print_header("offline agents", ["distpolicy", "tensorflow", "gymnasium"])
    with tempfile.TemporaryDirectory() as folder:
        rows = table(arguments, Path(folder))
    print_table(("env", "data", "their return", "agent", "seeds", f"greedy after {arguments.steps:,} steps"), rows)


if __name__ == "__main__":
    main()
