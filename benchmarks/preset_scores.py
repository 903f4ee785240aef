"""Scores of the presets: each is trained through Ray, on several seeds, and set beside a reference.

Means and 95 % intervals (Student's t) over the seeds. A preset ends at its target, a mean return of the last 100
training episodes, or after its env steps. The evaluations are of 100 episodes on seeds of their own: of the greedy
policy, and of the one that draws its actions.

With ``--to-the-end`` a target ends no run: all env steps are taken, collectors and learner are one process
without Ray, and the evaluation at the end is the only one. That is the figure to compare with others' of so many steps.

    python benchmarks/preset_scores.py
    python benchmarks/preset_scores.py --to-the-end --only pendulum-sac pendulum-td3
    python benchmarks/preset_scores.py --only lunarlander-ppo --seeds 10
    python benchmarks/preset_scores.py --only hopper-ppo --seeds 1 --options "--total-steps 200000"
"""

from __future__ import annotations

import argparse
import csv
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from reporting import print_header, print_table
from scipy import stats
from score_runs import Run, train

from launch.commands.train import parse_train
from launch.config.presets import load_preset
from launch.output.metrics import read_rows
from launch.training.run import TrainingRun

# What others reached with the same algorithm, or with PPO, and where it is from. RL-Zoo's are of one seed.
REFERENCES = {
    "cartpole-ppo": "500 @100k (RL-Zoo)",
    "cartpole-impala": "-",
    "cartpole-appo": "-",
    "acrobot-ppo": "-73.5 @1M (RL-Zoo)",
    "pendulum-ppo": "-172 @100k (RL-Zoo)",
    "mountaincarcontinuous-ppo": "88.3 @20k (RL-Zoo, gSDE)",
    "mountaincar-ppo": "-110.4 @1M (RL-Zoo)",
    "lunarlander-ppo": "242 @1M (RL-Zoo, v2)",
    "lunarlander-appo": "242 @1M (RL-Zoo's PPO, v2)",
    "bipedalwalker-ppo": "213 @5M (RL-Zoo)",
    "hopper-ppo": "2,410 @1M (RL-Zoo, v3)",
    "halfcheetah-ppo": "5,819 @1M (RL-Zoo, v3)",
    "pong-ppo": "20.99 @10M (RL-Zoo)",
    "pong-appo": "20.99 @10M (RL-Zoo's PPO)",
    "stateless-cartpole-lstm": "500 @100k (RL-Zoo)",
    "stateless-cartpole-lstm-impala": "-",
    "stateless-cartpole-lstm-appo": "-",
    "stateless-cartpole-gru": "500 @100k (RL-Zoo, LSTM)",
    "stateless-pendulum-lstm": "-",
    "repeat-previous-lstm": "-",
    "repeat-previous-far-lstm": "-",
    "repeat-previous-r2d2": "-",
    "repeat-previous-far-r2d2": "-",
    "acrobot-dqn": "-76.6 @100k (RL-Zoo)",
    "mountaincar-dqn": "-100.8 @120k (RL-Zoo)",
    "lunarlander-dqn": "154.4 @100k (RL-Zoo, v2); 195 @300k (SLM-Lab)",
    "cartpole-dqn": "500 @50k (RL-Zoo)",
    "pendulum-sac": "-157 @20k (RL-Zoo)",
    "pendulum-td3": "-152 @20k (RL-Zoo)",
    "mountaincarcontinuous-sac": "94.7 @50k (RL-Zoo)",
    "mountaincarcontinuous-td3": "93.5 @300k (RL-Zoo)",
    "lunarlandercontinuous-sac": "260 @500k (RL-Zoo, v2)",
    "lunarlandercontinuous-td3": "207 @300k (RL-Zoo, v2)",
    "halfcheetah-sac": "9,535 @1M (RL-Zoo, v3)",
}

TO_THE_END = ("--target-return", "None", "--eval-every", "None")
COLUMNS = (
    "preset",
    "seeds",
    "target",
    "solved",
    "env steps",
    "most",
    "seconds",
    "greedy",
    "stochastic",
    "reference",
)


def interval(values: Sequence[float], digits: int = 0) -> str:
    """Mean and 95 % interval."""
    if not values:
        return "-"
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:,.{digits}f}"
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return f"{mean:,.{digits}f} ± {half:,.{digits}f}"


def train_here(options: Sequence[str]) -> Run:
    """Trains in this process, without Ray, by options of ``distpolicy train``."""
    begin = time.perf_counter()
    config = parse_train(list(options)).config
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        with TrainingRun(config, run_dir=run_dir, serial=True, reports=False) as run:
            totals = run.run()
        last = read_rows(run_dir / "metrics.csv")[-1]
        with open(run_dir / "evaluations.csv", newline="") as file:
            greedy = [float(one["return_mean"]) for one in csv.DictReader(file) if one["policy"] == "greedy"]
    command_s, mean = time.perf_counter() - begin, last["return_mean_100"]
    return Run(
        totals.solved, totals.steps, float(last["train_s"]), command_s, 0.0, 0.0, float(mean or "nan"), greedy[-1], None
    )


def row(preset: str, runs: Sequence[Run]) -> list[str]:
    """A preset's line of the table."""
    target = load_preset(preset).target_return
    digits = 2 if target is not None and abs(target) < 10 else 1
    return [
        preset,
        str(len(runs)),
        "-" if target is None else f"{target:g}",
        f"{sum(run.solved for run in runs)} of {len(runs)}",
        interval([run.env_steps for run in runs]),
        f"{max(run.env_steps for run in runs):,}",
        interval([run.train_s for run in runs], 1),
        interval([run.greedy for run in runs if run.greedy is not None], digits),
        interval([run.stochastic for run in runs if run.stochastic is not None], digits),
        REFERENCES[preset],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    presets = tuple(REFERENCES)
    parser.add_argument("--only", nargs="+", choices=presets, default=list(presets), metavar="PRESET", help="which")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--options", default="", help="further options of distpolicy train, as one text")
    parser.add_argument(
        "--to-the-end", action="store_true", help="take all env steps, whatever was reached, without Ray"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="the first of the seeds")
    arguments = parser.parse_args()
    run: Callable[[Sequence[str]], Run] = train_here if arguments.to_the_end else train
    more = [*(TO_THE_END if arguments.to_the_end else ()), *shlex.split(arguments.options)]
    print_header("presets", ["ray", "tensorflow", "gymnasium"])
    rows = []
    for preset in arguments.only:
        runs = []
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            runs.append(run(["--preset", preset, "--seed", str(seed), "--eval-episodes", "100", *more]))
            print(f"{preset}, seed {seed}: {runs[-1]}", flush=True)
        rows.append(row(preset, runs))
        print(" | ".join(rows[-1]), flush=True)
    print_table(COLUMNS, rows)


if __name__ == "__main__":
    main()
