"""What a policy lag gains: training with ``--max-policy-lag`` 0 beside 1 and 2, and beside RLlib's IMPALA and APPO.

- ``slow``: wall-clock to the same mean return, with env steps of 5 ms and two collectors. Once both are alike, in the
  fixed order, and once the first is half as fast, by arrival. Update and rollout take about as long.
- ``busy``: the share of the time in which the learner and the collectors work, with env steps of 1 ms and a batch whose
  update takes about as long as its rollouts.
- ``speed``: env steps a second of CartPole-v1, one collector of 64 environments, IMPALA and APPO with a lag of 1,
  beside RLlib's, in the environment's vectorised form on both sides; and ours in the form ``sync`` beside Sample
  Factory's APPO, whose environments are stepped one by one, too.
- ``score``: seconds to a mean return of 475 on CartPole-v1, IMPALA and APPO, beside RLlib's.

All runs of a case take turns, seed by seed, and every ratio is of one seed. The seconds are those from the first env
step. The peers need no place in our environment: ``--peer-python`` names a Python that has RLlib with PyTorch, and
``--sample-factory-python`` one that has Sample Factory.

    python benchmarks/async.py slow busy
    python benchmarks/async.py speed score --peer-python PATH/TO/ITS/python --sample-factory-python PATH/TO/ITS/python
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from reporting import met, print_header, print_table

HERE = Path(__file__).parent
TIMEOUT_S = 1800.0
ENV = "async_env:PacedCartPole"
# The first rows hold what is compiled late and the first, short wait.
NUM_WARM_UP = 10


class Run(NamedTuple):
    """One run of ours.

    Attributes:
        solved: Whether it reached its target.
        train_s: Seconds from the first env step.
        env_steps: Env steps.
        steps_per_s: Env steps a second after the first updates.
        learner_busy: Share of the time in which the learner works.
        collectors_busy: The same of the collectors, in the mean.
        lag: The mean policy lag.
    """

    solved: bool
    train_s: float
    env_steps: int
    steps_per_s: float
    learner_busy: float
    collectors_busy: float
    lag: float


def train(*options: str) -> Run:
    """A run of ``distpolicy train``.

    Raises:
        RuntimeError: If it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        options = tuple(option.replace("FLAG", f"{folder}/flag") for option in options)
        command = [sys.executable, "-m", "launch", "train", *options, "--eval-episodes", "0", "--run-dir", str(run_dir)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
        if result.returncode:
            raise RuntimeError(f"`{' '.join(command)}` failed:\n{result.stderr[-2000:]}")
        with open(run_dir / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    first, last = rows[NUM_WARM_UP], rows[-1]

    def mean(name: str) -> float:
        return float(np.mean([float(row[name]) for row in rows[NUM_WARM_UP:]]))

    seconds = float(last["train_s"]) - float(first["train_s"])
    return Run(
        solved="solved:" in result.stdout,
        train_s=float(last["train_s"]),
        env_steps=int(last["env_steps"]),
        steps_per_s=(int(last["env_steps"]) - int(first["env_steps"])) / seconds,
        learner_busy=mean("update_s") / (mean("update_s") + mean("learner_wait_s")),
        collectors_busy=mean("rollout_s") / (mean("rollout_s") + mean("collector_wait_s")),
        lag=mean("policy_lag_mean") if "policy_lag_mean" in last else mean("policy_lag"),
    )


# Wide networks, so that an update of few rows takes as long as their rollouts.
SLOW = (
    *("--env", ENV, "--preset", "ppo", "--collectors", "2", "--envs-per-collector", "4", "--rollout-steps", "16"),
    *("--vectorization", "sync", "--total-steps", "60000", "--target-return", "120"),
    *("--network.actor-units", "512", "512", "--ppo.value-units", "512", "512"),
    *("--ppo.num-epochs", "20", "--ppo.num-minibatches", "2", "--ppo.learning-rate", "0.0003"),
    *("--ppo.learning-rate-schedule", "constant"),
)


def slow(num_seeds: int) -> None:
    """Prints the seconds to the same score with and without a lag."""
    equal, unequal = ("step_s=0.005",), ("step_s=0.005", "slow_factor=2.0", "flag=FLAG")
    cases = {
        "equal": (equal, {"lag 0": (), "lag 1": ("--max-policy-lag", "1"), "lag 2": ("--max-policy-lag", "2")}, 1.5),
        "one half as fast": (
            unequal,
            {
                "lag 0": (),
                "lag 1, by arrival": ("--max-policy-lag", "1", "--rollout-order", "arrival"),
                "lag 2, by arrival": ("--max-policy-lag", "2", "--rollout-order", "arrival"),
            },
            2.0,
        ),
    }
    for name, (environment, sides, goal) in cases.items():
        runs: dict[str, list[Run]] = {side: [] for side in sides}
        for seed in range(num_seeds):
            for side, options in sides.items():
                runs[side].append(train(*SLOW, "--seed", str(seed), *options, "--env-kwargs", *environment))
            print(f"seed {seed}: " + ", ".join(f"{side} {of[-1].train_s:.1f} s" for side, of in runs.items()))
        base = runs["lag 0"]
        rows = []
        for side, of in runs.items():
            ratios = [one.train_s / run.train_s for one, run in zip(base, of, strict=True)]
            speeds = [run.steps_per_s / one.steps_per_s for one, run in zip(base, of, strict=True)]
            rows.append(
                [
                    side,
                    f"{sum(run.solved for run in of)} of {num_seeds}",
                    f"{np.median([run.train_s for run in of]):.1f}",
                    f"{np.median([run.env_steps for run in of]):,.0f}",
                    f"{np.median([run.lag for run in of]):.2f}",
                    f"{np.median([run.learner_busy for run in of]):.0%}",
                    f"{np.median([run.collectors_busy for run in of]):.0%}",
                    f"{np.median(speeds):.2f}",
                    f"{np.median(ratios):.2f}",
                    "" if side == "lag 0" else met(float(np.median(ratios)) >= goal),
                ]
            )
        columns = [
            "solved",
            "s to 120",
            "steps",
            "lag",
            "learner busy",
            "collectors busy",
            "steps/s x",
            "times as fast",
        ]
        print_table([f"collectors: {name}", *columns, f"goal: {goal:g}"], rows)


BUSY = (
    *("--env", ENV, "--preset", "ppo", "--collectors", "2", "--envs-per-collector", "8", "--rollout-steps", "16"),
    *("--vectorization", "sync", "--total-steps", "60000"),
    *("--network.actor-units", "256", "256", "--ppo.value-units", "256", "256", "--ppo.num-minibatches", "4"),
)


def busy() -> None:
    """Prints who works how much, for some sizes of the update; the goal is met where the batch is balanced."""
    rows = []
    for epochs in (12, 16, 20, 24):
        for lag in (0, 2):
            options = ("--ppo.num-epochs", str(epochs), "--max-policy-lag", str(lag), "--env-kwargs", "step_s=0.001")
            run = train(*BUSY, *options)
            least = min(run.learner_busy, run.collectors_busy)
            rows.append(
                [
                    f"{epochs} epochs, lag {lag}",
                    f"{run.learner_busy:.0%}",
                    f"{run.collectors_busy:.0%}",
                    f"{run.steps_per_s:,.0f}",
                    met(least >= 0.85) if lag else "",
                ]
            )
    print_table(["env steps of 1 ms", "learner busy", "collectors busy", "steps/s", "goal: both 85 %"], rows)


def peer(python: str, script: str, *options: str) -> dict[str, float]:
    """A run of a peer's, by its script in ``peers/``."""
    command = [python, str(HERE / "peers" / script), *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    if result.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{result.stderr[-2000:]}")
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def rllib(python: str, algorithm: str, kind: str, seed: int) -> dict[str, float]:
    """A run of RLlib's; see ``peers/rllib_async.py``."""
    return peer(python, "rllib_async.py", algorithm, kind, "--seed", str(seed))


def sample_factory(python: str, seed: int) -> float:
    """The steps a second of Sample Factory's APPO, with one worker or two, whichever is faster."""
    runs = [peer(python, "sample_factory_async.py", "--workers", str(count), "--seed", str(seed)) for count in (1, 2)]
    return max(run["steps_per_s"] for run in runs)


def speed(num_seeds: int, rllib_python: str | None, sample_factory_python: str | None) -> None:
    """Prints env steps a second."""
    beside_rllib = ("RLlib", 8.0, lambda kind, seed: rllib(rllib_python, kind, "speed", seed)["steps_per_s"])
    beside_factory = ("Sample Factory", 3.0, lambda _, seed: sample_factory(sample_factory_python, seed))
    cases = [("impala", "auto", beside_rllib), ("appo", "auto", beside_rllib)] if rllib_python else []
    if sample_factory_python:
        cases.append(("appo", "sync", beside_factory))
    rows = []
    for kind, form, (name, goal, steps_per_s) in cases:
        ours, theirs = [], []
        for seed in range(num_seeds):
            ours.append(_speed_run(kind, form, seed))
            theirs.append(steps_per_s(kind, seed))
        ratio = float(np.median([run.steps_per_s / one for run, one in zip(ours, theirs, strict=True)]))
        rows.append(
            [
                f"{kind}, {form}",
                f"{np.median([run.steps_per_s for run in ours]):,.0f}",
                f"{np.median([run.lag for run in ours]):.1f}",
                f"{name}: {np.median(theirs):,.0f}",
                f"{ratio:.1f}",
                f"{goal:g}: {met(ratio >= goal)}",
            ]
        )
    print_table(["CartPole-v1", "steps/s", "mean lag", "the peer's", "times as fast", "goal"], rows)


def _speed_run(kind: str, form: str, seed: int) -> Run:
    options = ("--preset", f"cartpole-{kind}", "--collectors", "1", "--envs-per-collector", "64")
    more = ("--max-policy-lag", "1", "--seed", str(seed), "--total-steps", "1000000", "--target-return", "501")
    return train(*options, *more, "--vectorization", form)


def score(num_seeds: int, python: str | None) -> None:
    """Prints the seconds to a mean of 475."""
    for kind in ("impala", "appo"):
        rows, ratios = [], []
        for seed in range(num_seeds):
            run = train("--preset", f"cartpole-{kind}", "--max-policy-lag", "1", "--seed", str(seed))
            row = [f"seed {seed}", f"{run.train_s:.1f}" + ("" if run.solved else ", not solved"), f"{run.env_steps:,}"]
            if python:
                theirs = rllib(python, kind, "score", seed)
                ratios.append(theirs["train_s"] / run.train_s if run.solved else 0.0)
                bound = "" if theirs["solved"] else "> "
                row += [f"{bound}{theirs['train_s']:.1f}", f"{theirs['env_steps']:,.0f}", f"{bound}{ratios[-1]:.1f}"]
            rows.append(row)
        columns = [kind, "s to 475", "steps", *(["RLlib's s", "steps", "times as fast"] if python else [])]
        print_table(columns, rows)
        if ratios:
            print(
                f"{kind}: median {np.median(ratios):.1f} times as fast; goal 10: {met(float(np.median(ratios)) >= 10)}"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("cases", nargs="+", choices=["slow", "busy", "speed", "score"])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--peer-python", help="a Python that has RLlib and PyTorch")
    parser.add_argument("--sample-factory-python", help="a Python that has Sample Factory")
    parsed = parser.parse_args(arguments)
    print_header("asynchronous training", ["ray", "tensorflow", "gymnasium"])
    for case in parsed.cases:
        if case == "slow":
            slow(parsed.seeds)
        elif case == "busy":
            busy()
        elif case == "speed":
            speed(parsed.seeds, parsed.peer_python, parsed.sample_factory_python)
        else:
            score(parsed.seeds, parsed.peer_python)


if __name__ == "__main__":
    main()
