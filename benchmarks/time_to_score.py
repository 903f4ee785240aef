"""Seconds from the first env step to a 100-episode mean of 475 on CartPole-v1, beside Stable-Baselines3.

Ours is ``distpolicy train`` with its default preset. Its compiling begins with the command; what is left of it at the
first env step is in its seconds, and is also told apart. It is measured twice: ``cold`` compiles everything, as the
first run of some settings on a machine does; ``warm`` finds the update in the compile cache, as every later run does,
with another seed, too. (The cache is the benchmark's own, filled by one run that is not counted.)

The peer is Stable-Baselines3's PPO with RL-Zoo's settings for this environment (``peers/sb3_cartpole.py``), once with
PyTorch's own choice of threads and once with one thread; the one with the lower median is what ours is compared with.
All means are of the last 100 training episodes.

All take turns, seed by seed; each ratio is of one seed. The goal is a median ratio of at least 5, and every seed
solved.

The peer needs no place in our environment; with one of its own (``pip install stable-baselines3``):

    python benchmarks/time_to_score.py --peer-python PATH/TO/ITS/python
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reporting import met, print_header, print_table

GOAL = 5.0
TIMEOUT_S = 1800.0
PEER_SCRIPT = Path(__file__).parent / "peers" / "sb3_cartpole.py"
THREADS = {"SB3": [], "SB3, 1 thread": ["--threads", "1"]}


class Ours(NamedTuple):
    """One run of ours.

    Attributes:
        solved: Whether it reached the target.
        env_steps: Steps that it took.
        train_s: Seconds from the first env step.
        compile_wait_s: How many of them the first update waited to be compiled.
        warm_up_s: Seconds of compiling in all, most of it before the first env step.
    """

    solved: bool
    env_steps: int
    train_s: float
    compile_wait_s: float
    warm_up_s: float


def run_ours(seed: int, cache: Path | None) -> Ours:
    """A run of ``distpolicy train``, with a compile cache or without one."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        options = ["--seed", str(seed), "--eval-episodes", "0", "--run-dir", str(run_dir)]
        if cache is None:
            options.append("--no-compile-cache")
        result = subprocess.run(
            [sys.executable, "-m", "launch", "train", *options],
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={**os.environ, **({} if cache is None else {"XDG_CACHE_HOME": str(cache)})},
        )
        with open(run_dir / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    warm_up = re.search(r"compiling the update took ([\d.]+) s", result.stdout)
    if warm_up is None:
        raise RuntimeError(f"the command did not print what this script reads:\n{result.stdout}")
    first, last = rows[0], rows[-1]
    # The first row is written once the first update is done. Its seconds are those of a rollout, of an update, and, if
    # the update was not compiled yet, of waiting for that. Collectors compile their policies inside the rollout: that
    # stays in both figures.
    update_s = float(np.median([float(row["update_s"]) for row in rows]))
    wait_s = max(0.0, float(first["train_s"]) - float(first["rollout_s"]) - update_s)
    return Ours(
        solved="solved:" in result.stdout,
        env_steps=int(last["env_steps"]),
        train_s=float(last["train_s"]),
        compile_wait_s=wait_s,
        warm_up_s=float(warm_up[1]),
    )


def run_peer(python: str, seed: int, options: list[str]) -> dict[str, Any]:
    """What a run of the peer prints."""
    result = subprocess.run(
        [python, str(PEER_SCRIPT), "--seed", str(seed), *options],
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    here = sys.executable if importlib.util.find_spec("stable_baselines3") else None
    parser.add_argument(
        "--peer-python", default=here, help="a Python that has stable-baselines3; this one, if it has it"
    )
    arguments = parser.parse_args()
    print_header("CartPole-v1: first env step to a 100-episode mean of 475", ["ray", "tensorflow", "gymnasium"])
    names = THREADS if arguments.peer_python else {}
    if not names:
        print("SKIPPED: Stable-Baselines3, which this Python does not have; give one that has it by --peer-python")
    ours: dict[str, list[Ours]] = {"cold": [], "warm": []}
    peers: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as cache:
        run_ours(arguments.seeds, Path(cache))
        for seed in range(arguments.seeds):
            ours["cold"].append(run_ours(seed, None))
            ours["warm"].append(run_ours(seed, Path(cache)))
            for name, options in names.items():
                peers[name].append(run_peer(arguments.peer_python, seed, options))
            shown = [f"{name} {runs[-1].train_s:.1f} s" for name, runs in ours.items()]
            shown += [f"{name} {runs[-1]['train_s']:.1f} s" for name, runs in peers.items()]
            print(f"seed {seed}: {', '.join(shown)}", flush=True)
    report(ours, peers)


def report(ours: dict[str, list[Ours]], peers: dict[str, list[dict[str, Any]]]) -> None:
    """Prints a row a seed, the medians and the goals."""
    cold, warm = ours["cold"], ours["warm"]
    sides = {
        "cold": np.array([run.train_s for run in cold]),
        "warm": np.array([run.train_s for run in warm]),
        "without compile": np.array([run.train_s - run.compile_wait_s for run in cold]),
    }
    columns = {name: _seconds(values) for name, values in sides.items()}
    columns["compile, cold"] = _seconds(np.array([run.warm_up_s for run in cold]))
    columns["compile, warm"] = _seconds(np.array([run.warm_up_s for run in warm]))
    columns["steps"] = _counts([run.env_steps for run in cold])
    solved = {name: [run.solved for run in runs] for name, runs in ours.items()}
    for name, runs in peers.items():
        columns[name] = _seconds(np.array([run["train_s"] for run in runs]))
        columns[f"{name}: steps"] = _counts([run["env_steps"] for run in runs])
        solved[name] = [run["solved"] for run in runs]
    ratios: dict[str, np.ndarray] = {}
    if peers:
        peer_s = {name: np.array([run["train_s"] for run in runs]) for name, runs in peers.items()}
        best = min(peer_s, key=lambda name: float(np.median(peer_s[name])))
        ratios = {name: peer_s[best] / values for name, values in sides.items()}
        columns |= {f"ratio {name}": _ratios(values) for name, values in ratios.items()}
        versions = next(iter(peers.values()))[0]["versions"]
        print(f"peer: {', '.join(f'{name} {value}' for name, value in versions.items())}; ratios are of {best}")
    seeds = [*(str(seed) for seed in range(len(cold))), "median"]
    print_table(["seed", *columns], [list(row) for row in zip(seeds, *columns.values(), strict=True)])
    for name, flags in solved.items():
        print(f"{name}: {sum(flags)} of {len(flags)} seeds solved")
    print(f"goal: every seed of ours solved: {met(all(solved['cold'] + solved['warm']))}")
    for name, values in ratios.items():
        median = float(np.median(values))
        print(f"goal: at least {GOAL:g} x faster in the median, {name}: {met(median >= GOAL)} ({median:.2f})")


def _seconds(values: np.ndarray) -> list[str]:
    return [f"{value:.1f} s" for value in [*values, np.median(values)]]


def _counts(values: list[int]) -> list[str]:
    return [f"{value:,.0f}" for value in [*values, np.median(values)]]


def _ratios(values: np.ndarray) -> list[str]:
    return [f"{value:.2f}" for value in [*values, np.median(values)]]


if __name__ == "__main__":
    main()
