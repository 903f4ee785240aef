"""What a policy lag gains: training with ``--max-policy-lag`` 0 beside 1 and 2, and beside RLlib's IMPALA and APPO.

- ``slow``: wall-clock to the same mean return, with env steps of 5 ms and two collectors. Once both are alike, in the
  fixed order, and once the first is half as fast, by arrival. Update and rollout take about as long.
- ``busy``: the share of the time in which the learner and the collectors work, with env steps of 1 ms and a batch whose
  update takes about as long as its rollouts.
- ``speed``: env steps a second of CartPole-v1, one collector of 64 environments, IMPALA and APPO with a lag of 1,
  beside RLlib's, in the environment's vectorised form on both sides; and ours in the form ``sync`` beside Sample
  Factory's APPO, whose environments are stepped one by one, too. Networks are of the same size, and ours makes as many
  passes over its rows as the peer; a row of its own has those of our preset.
- ``score``: seconds to a mean return of 475 on CartPole-v1, IMPALA and APPO, beside RLlib's.

All runs of a case take turns, seed by seed, and every ratio is of one seed. The seconds are those from the first env
step. The peers need no place in our environment: ``--peer-python`` names a Python that has RLlib with PyTorch, and
``--sample-factory-python`` one that has Sample Factory. A peer is ended, with all its processes, after so many env
steps or seconds; the second half of its steps counts.

    python benchmarks/async.py slow busy
    python benchmarks/async.py speed score --peer-python PATH/TO/ITS/python --sample-factory-python PATH/TO/ITS/python
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from peer_process import run_peer, steps_per_s
from reporting import met, print_header, print_table

HERE = Path(__file__).parent
TIMEOUT_S = 1800.0
ENV = "async_env:PacedCartPole"
# The first rows hold what is compiled late and the first, short wait.
NUM_WARM_UP = 10
TARGET = 475.0
# Of the peer's one env runner in score. With 8, or with its tuned two runners of one environment each, it is slower on
# two cores.
PEER_ENVS = 32


class Run(NamedTuple):
    """One run of ours.

    Attributes:
        solved: Whether it reached its target.
        train_s: Seconds from the first env step.
        env_steps: Env steps.
        steps_per_s: Env steps a second in the second half of its steps, as for the peers.
        learner_busy: Share of the time in which the learner works.
        collectors_busy: The same of all collectors together.
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
        rows, times = (_read(run_dir / name) for name in ("metrics.csv", "worker_times.csv"))
    last = rows[-1]

    def mean(name: str) -> float:
        return float(np.mean([float(row[name]) for row in rows[NUM_WARM_UP:]]))

    middle = next(row for row in rows if int(row["env_steps"]) >= int(last["env_steps"]) / 2)
    seconds = float(last["train_s"]) - float(middle["train_s"])
    return Run(
        solved="solved:" in result.stdout,
        train_s=float(last["train_s"]),
        env_steps=int(last["env_steps"]),
        steps_per_s=(int(last["env_steps"]) - int(middle["env_steps"])) / seconds,
        learner_busy=mean("update_s") / (mean("update_s") + mean("learner_wait_s")),
        collectors_busy=_collectors_busy(times, float(rows[NUM_WARM_UP]["train_s"])),
        lag=mean("policy_lag_mean") if "policy_lag_mean" in last else mean("policy_lag"),
    )


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _collectors_busy(times: Sequence[dict[str, str]], since_s: float) -> float:
    """Returns the share of the time in which collectors work: all of them together, as on the progress line.

    Args:
        times: The rows of ``worker_times.csv``.
        since_s: What began earlier is left out, in seconds of training.
    """
    rows = [row for row in times if row["worker"] != "learner" and float(row["begin_s"]) >= since_s]
    work_s = sum(float(row[name]) for row in rows for name in ("env_s", "policy_s", "other_s"))
    wait_s = sum(float(row["wait_s"]) for row in rows)
    return work_s / (work_s + wait_s) if rows else float("nan")


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
            seconds = ", ".join(f"{side} {of[-1].train_s:.1f} s" for side, of in runs.items())
            print(f"seed {seed}: {seconds}", flush=True)
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
    *("--vectorization", "sync"),
    *("--network.actor-units", "256", "256", "--ppo.value-units", "256", "256", "--ppo.num-minibatches", "4"),
)


def busy(some_epochs: Sequence[int], num_steps: int) -> None:
    """Prints who works how much, for some sizes of the update; the goal is met where the batch is balanced.

    Args:
        some_epochs: Numbers of epochs of an update.
        num_steps: Env steps of a run.
    """
    rows = []
    for epochs in some_epochs:
        for lag in (0, 2):
            options = ("--ppo.num-epochs", str(epochs), "--max-policy-lag", str(lag), "--env-kwargs", "step_s=0.001")
            run = train(*BUSY, "--total-steps", str(num_steps), *options)
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
            print(", ".join(rows[-1]), flush=True)
    print_table(["env steps of 1 ms", "learner busy", "collectors busy", "steps/s", "goal: both 85 %"], rows)


class SpeedCase(NamedTuple):
    """One comparison of speed.

    Attributes:
        kind: Our agent.
        form: The form of our environments.
        like_peer: Options by which ours learns as much from a row as the peer: as many passes, as large minibatches.
        peer: The peer's name.
        goal: How many times as fast we want to be, then.
        scripts: The peer's scripts with their options; the fastest counts.
        python: The Python that has it.
    """

    kind: str
    form: str
    like_peer: Sequence[str]
    peer: str
    goal: float
    scripts: Sequence[Sequence[str]]
    python: str


# Passes over a batch, and minibatches of it, as RLlib's tuned settings for CartPole have them.
RLLIB_PASSES = {
    "impala": ("--impala.num-epochs", "1", "--impala.num-minibatches", "4"),
    "appo": ("--appo.num-epochs", "2", "--appo.num-minibatches", "8"),
}


def speed_cases(rllib_python: str | None, sample_factory_python: str | None) -> list[SpeedCase]:
    """Returns the comparisons with the peers that there are."""
    cases = []
    if rllib_python:
        for kind, passes in RLLIB_PASSES.items():
            scripts = tuple(("rllib_async.py", kind, "speed", "--batch", str(batch)) for batch in (500, 2048))
            cases.append(SpeedCase(kind, "auto", passes, "RLlib", 8.0, scripts, rllib_python))
    if sample_factory_python:
        passes = ("--appo.num-epochs", "1", "--appo.num-minibatches", "1")
        scripts = tuple(("sample_factory_async.py", "--workers", str(count)) for count in (1, 2))
        cases.append(SpeedCase("appo", "sync", passes, "Sample Factory", 3.0, scripts, sample_factory_python))
    return cases


def speed(num_seeds: int, cases: Sequence[SpeedCase], num_steps: int, peer_steps: int, peer_s: float) -> None:
    """Prints env steps a second: with as many passes over the rows as the peer makes, and with those of our preset.

    Args:
        num_seeds: Number of seeds.
        cases: The comparisons.
        num_steps: Env steps of our runs.
        peer_steps: Env steps after which a peer is ended.
        peer_s: Seconds after which it is ended if it has not got there.
    """
    rows = []
    for case in cases:
        sides = {"as the peer": case.like_peer, "as the preset": ()}
        ours: dict[str, list[Run]] = {side: [] for side in sides}
        theirs = []
        for seed in range(num_seeds):
            for side, options in sides.items():
                ours[side].append(_speed_run(case.kind, case.form, seed, num_steps, options))
            theirs.append(max(_peer_speed(case, script, seed, peer_steps, peer_s) for script in case.scripts))
            told = ", ".join(f"{side}: {of[-1].steps_per_s:,.0f} (lag {of[-1].lag:.1f})" for side, of in ours.items())
            print(f"{case.kind}, {case.form}, seed {seed}: {told}; {case.peer}: {theirs[-1]:,.0f}", flush=True)
        for side, of in ours.items():
            ratio = float(np.median([run.steps_per_s / one for run, one in zip(of, theirs, strict=True)]))
            rows.append(
                [
                    f"{case.kind}, {case.form}, passes {side}",
                    f"{np.median([run.steps_per_s for run in of]):,.0f}",
                    f"{np.median([run.lag for run in of]):.1f}",
                    f"{np.median([run.learner_busy for run in of]):.0%}",
                    f"{np.median([run.collectors_busy for run in of]):.0%}",
                    f"{case.peer}: {np.median(theirs):,.0f}",
                    f"{ratio:.1f}",
                    f"{case.goal:g}: {met(ratio >= case.goal)}" if side == "as the peer" else "",
                ]
            )
    columns = ["steps/s", "mean lag", "learner busy", "collector busy", "the peer's", "times as fast", "goal"]
    print_table(["CartPole-v1", *columns], rows)


def _speed_run(kind: str, form: str, seed: int, num_steps: int, options: Sequence[str]) -> Run:
    given = ("--preset", f"cartpole-{kind}", "--collectors", "1", "--envs-per-collector", "64")
    more = ("--max-policy-lag", "1", "--seed", str(seed), "--total-steps", str(num_steps), "--target-return", "501")
    return train(*given, *more, "--vectorization", form, *options)


def _peer_speed(case: SpeedCase, script: Sequence[str], seed: int, num_steps: int, deadline_s: float) -> float:
    """Returns the peer's env steps a second in the second half of a run."""
    name, *options = script
    with tempfile.TemporaryDirectory() as folder:
        if name == "sample_factory_async.py":
            options += ["--folder", folder]
        marks = run_peer(
            case.python,
            name,
            *options,
            "--seed",
            str(seed),
            is_done=lambda mark: mark.env_steps >= num_steps or mark.seconds >= deadline_s,
            deadline_s=deadline_s,
        )
    return steps_per_s(marks)


def score(num_seeds: int, python: str | None, peer_s: float) -> None:
    """Prints the seconds to a mean of 475.

    Args:
        num_seeds: Number of seeds.
        python: A Python that has RLlib; None for our runs alone.
        peer_s: Seconds after which a run of RLlib is ended.
    """
    for kind in ("impala", "appo"):
        rows, ratios = [], []
        for seed in range(num_seeds):
            run = train("--preset", f"cartpole-{kind}", "--max-policy-lag", "1", "--seed", str(seed))
            row = [f"seed {seed}", f"{run.train_s:.1f}" + ("" if run.solved else ", not solved"), f"{run.env_steps:,}"]
            if python:
                last = run_peer(
                    python,
                    "rllib_async.py",
                    kind,
                    *("score", "--seed", str(seed), "--envs", str(PEER_ENVS)),
                    is_done=lambda mark: mark.return_mean >= TARGET or mark.seconds >= peer_s,
                    deadline_s=peer_s,
                )[-1]
                ratios.append(last.seconds / run.train_s if run.solved else 0.0)
                bound = "" if last.return_mean >= TARGET else "> "
                row += [f"{bound}{last.seconds:.1f}", f"{last.env_steps:,}", f"{bound}{ratios[-1]:.1f}"]
            rows.append(row)
            print(f"{kind}, {', '.join(row)}", flush=True)
        columns = [kind, "s to 475", "steps", *(["RLlib's s", "steps", "times as fast"] if python else [])]
        print_table(columns, rows)
        if ratios:
            median = float(np.median(ratios))
            print(f"{kind}: median {median:.1f} times as fast; goal 10: {met(median >= 10)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("cases", nargs="+", choices=["slow", "busy", "speed", "score"])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--epochs", nargs="+", type=int, default=[28, 36, 40], help="of busy: epochs of an update")
    parser.add_argument("--busy-steps", type=int, default=60_000, help="env steps of a run of busy")
    parser.add_argument("--speed-steps", type=int, default=1_000_000, help="env steps of our runs of speed")
    parser.add_argument("--peer-python", help="a Python that has RLlib and PyTorch")
    parser.add_argument("--sample-factory-python", help="a Python that has Sample Factory")
    parser.add_argument("--peer-steps", type=int, default=400_000, help="env steps after which a peer's speed is known")
    parser.add_argument("--peer-speed-s", type=float, default=120.0, help="seconds of a peer's run of speed, at most")
    parser.add_argument("--peer-score-s", type=float, default=300.0, help="seconds of a peer's run of score, at most")
    parsed = parser.parse_args(arguments)
    print_header("asynchronous training", ["ray", "tensorflow", "gymnasium"])
    for case in parsed.cases:
        if case == "slow":
            slow(parsed.seeds)
        elif case == "busy":
            busy(parsed.epochs, parsed.busy_steps)
        elif case == "speed":
            cases = speed_cases(parsed.peer_python, parsed.sample_factory_python)
            speed(parsed.seeds, cases, parsed.speed_steps, parsed.peer_steps, parsed.peer_speed_s)
        else:
            score(parsed.seeds, parsed.peer_python, parsed.peer_score_s)


if __name__ == "__main__":
    main()
