"""Scores of the recurrent presets: each is trained through Ray, with 2 collectors, on several seeds.

Means and 95 % intervals (Student's t) over the seeds. A preset ends at its target, a mean return of the last 100
training episodes; the evaluation is of 100 episodes of the greedy policy on seeds of its own.

    python benchmarks/recurrent_scores.py
    python benchmarks/recurrent_scores.py --only stateless-cartpole-gru --seeds 10
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from reporting import print_header, print_table
from scipy import stats
from score_runs import Run, train

from launch.config.presets import load_preset

PRESETS = (
    "stateless-cartpole-lstm",
    "stateless-cartpole-gru",
    "stateless-pendulum-lstm",
    "repeat-previous-lstm",
    "repeat-previous-far-lstm",
)


def interval(values: Sequence[float], digits: int = 0) -> str:
    """Mean and 95 % interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:,.{digits}f}"
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return f"{mean:,.{digits}f} ± {half:,.{digits}f}"


def row(preset: str, runs: Sequence[Run]) -> list[str]:
    """A preset's line of the table."""
    target = load_preset(preset).target_return or 0.0
    digits = 2 if abs(target) < 10 else 1
    evaluations = [run.evaluation for run in runs if run.evaluation is not None]
    return [
        preset,
        f"{target:g}",
        f"{sum(run.solved for run in runs)} of {len(runs)}",
        interval([run.env_steps for run in runs]),
        f"{max(run.env_steps for run in runs):,}",
        interval([run.train_s for run in runs], 1),
        interval(evaluations, digits),
        f"{min(evaluations):.{digits}f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PRESETS, default=list(PRESETS), metavar="PRESET", help="which")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    arguments = parser.parse_args()
    print_header("recurrent presets", ["ray", "tensorflow", "gymnasium"])
    rows = []
    for preset in arguments.only:
        runs = [
            train(["--preset", preset, "--seed", str(seed), "--eval-episodes", "100"])
            for seed in range(arguments.seeds)
        ]
        rows.append(row(preset, runs))
        print(" | ".join(rows[-1]), flush=True)
    columns = ["preset", "target", "solved", "env steps", "most", "seconds", "evaluation", "worst seed"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
