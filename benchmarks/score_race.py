"""Seconds from the first env step to a target mean return: ``distpolicy train`` beside a peer, seed by seed.

Ours compiles from its start on; what is left of that at the first env step is in its seconds, and is also told apart.
It is measured twice: ``cold`` compiles everything, as the first run of some settings on a machine does; ``warm`` finds
the update in the compile cache, as every later run does, with another seed, too. (The cache is the benchmark's own,
filled by one run that is not counted.)
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reporting import met, print_table

PEERS = Path(__file__).parent / "peers"
TIMEOUT_S = 3600.0


class Run(NamedTuple):
    """One run of ours.

    Attributes:
        solved: Whether it reached the target.
        env_steps: Steps that it took.
        train_s: Seconds from the first env step.
        compile_wait_s: How many of them the first update waited to be compiled.
        warm_up_s: Seconds of compiling in all, most of it before the first env step.
        best_return: The highest mean of 100 training episodes.
        greedy: Mean return of the greedy policy in the final evaluation; None if there was none.
        stochastic: The same of the policy that draws its actions.
    """

    solved: bool
    env_steps: int
    train_s: float
    compile_wait_s: float
    warm_up_s: float
    best_return: float
    greedy: float | None
    stochastic: float | None


class Peer(NamedTuple):
    """A peer's script and how to run it.

    Attributes:
        script: In ``peers``.
        python: A Python that has the peer.
        forms: Names of the peer's columns, and the script's options for each.
    """

    script: str
    python: str
    forms: dict[str, list[str]]


def train(options: Sequence[str], cache: Path | None = None) -> Run:
    """A run of ``distpolicy train``.

    Args:
        options: Of the command.
        cache: Where the compile cache is; None to do without.

    Raises:
        RuntimeError: If it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        options = [*options, "--run-dir", str(run_dir), *([] if cache else ["--no-compile-cache"])]
        environment = {**os.environ, **({"XDG_CACHE_HOME": str(cache)} if cache else {})}
        output = _output([sys.executable, "-m", "launch", "train", *options], environment)
        with open(run_dir / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    warm_up = re.search(r"compiling the update took ([\d.]+) s", output)
    if warm_up is None:
        raise RuntimeError(f"the command did not print what this script reads:\n{output}")
    first, last = rows[0], rows[-1]
    # The first row is written once the first update is done. Its seconds are those of a rollout, of an update, and, if
    # the update was not compiled yet, of waiting for that. Collectors compile their policies inside the rollout: that
    # stays in both figures.
    update_s = float(np.median([float(row["update_s"]) for row in rows]))
    wait_s = max(0.0, float(first["train_s"]) - float(first["rollout_s"]) - update_s)
    # A mean of fewer episodes says little.
    means = [float(row["return_mean_100"]) for row in rows if int(row["episodes"] or 0) >= 100]
    return Run(
        solved="solved:" in output,
        env_steps=int(last["env_steps"]),
        train_s=float(last["train_s"]),
        compile_wait_s=wait_s,
        warm_up_s=float(warm_up[1]),
        best_return=max(means, default=float("nan")),
        greedy=_evaluated("greedy", output),
        stochastic=_evaluated("stochastic", output),
    )


def _evaluated(policy: str, output: str) -> float | None:
    found = re.search(rf"evaluation of the {policy} policy: .* mean return (-?[\d.,]+)", output)
    return None if found is None else float(found[1].replace(",", ""))


def run_peer(peer: Peer, options: Sequence[str]) -> dict[str, Any]:
    """What a run of the peer prints.

    Raises:
        RuntimeError: If it fails.
    """
    return json.loads(_output([peer.python, str(PEERS / peer.script), *options]).splitlines()[-1])


def race(num_seeds: int, options: Sequence[str], peer: Peer | None, goal: float) -> None:
    """Runs all sides on every seed, and prints a row a seed, the medians and the goals.

    Args:
        num_seeds: Seeds are from 0 on.
        options: Of ``distpolicy train``.
        peer: The peer; None to do without.
        goal: How many times as fast as the peer's quickest form ours has to be in the median.
    """
    ours: dict[str, list[Run]] = {"cold": [], "warm": []}
    peers: dict[str, list[dict[str, Any]]] = {name: [] for name in (peer.forms if peer else ())}
    with tempfile.TemporaryDirectory() as cache:
        train(_options(options, num_seeds), Path(cache))
        for seed in range(num_seeds):
            ours["cold"].append(train(_options(options, seed)))
            ours["warm"].append(train(_options(options, seed), Path(cache)))
            if peer:
                for name, form in peer.forms.items():
                    peers[name].append(run_peer(peer, ["--seed", str(seed), *form]))
            shown = [f"{name} {runs[-1].train_s:.1f} s" for name, runs in ours.items()]
            shown += [f"{name} {runs[-1]['train_s']:.1f} s" for name, runs in peers.items()]
            print(f"seed {seed}: {', '.join(shown)}", flush=True)
    _report(ours, peers, goal)


def _options(options: Sequence[str], seed: int) -> list[str]:
    return [*options, "--seed", str(seed), "--eval-episodes", "0"]


def _report(ours: dict[str, list[Run]], peers: dict[str, list[dict[str, Any]]], goal: float) -> None:
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
    for name, results in peers.items():
        columns[name] = _seconds(np.array([result["train_s"] for result in results]))
        columns[f"{name}: steps"] = _counts([result["env_steps"] for result in results])
        solved[name] = [result["solved"] for result in results]
    ratios: dict[str, np.ndarray] = {}
    if peers:
        peer_s = {name: np.array([result["train_s"] for result in results]) for name, results in peers.items()}
        best = min(peer_s, key=lambda name: float(np.median(peer_s[name])))
        ratios = {name: peer_s[best] / values for name, values in sides.items()}
        columns |= {f"ratio {name}": _ratios(values) for name, values in ratios.items()}
        versions = next(iter(peers.values()))[0]["versions"]
        print(f"peer: {', '.join(f'{name} {value}' for name, value in versions.items())}; ratios are of {best}")
    seeds = [*(str(seed) for seed in range(len(cold))), "median"]
    print_table(["seed", *columns], [list(row) for row in zip(seeds, *columns.values(), strict=True)])
    for name, flags in solved.items():
        unsolved = "" if all(flags) else "; seconds of the others are those until they gave up"
        print(f"{name}: {sum(flags)} of {len(flags)} seeds solved{unsolved}")
    print(f"goal: every seed of ours solved: {met(all(solved['cold'] + solved['warm']))}")
    for name, values in ratios.items():
        median = float(np.median(values))
        print(f"goal: at least {goal:g} x faster in the median, {name}: {met(median >= goal)} ({median:.2f})")


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
        RuntimeError: If it fails; holds the last lines that it wrote to stderr.
    """
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    if result.returncode:
        last = "\n".join(result.stderr.splitlines()[-20:])
        raise RuntimeError(f"`{' '.join(command)}` ended with exit code {result.returncode}:\n{last}")
    return result.stdout


def _seconds(values: np.ndarray) -> list[str]:
    return [f"{value:.1f} s" for value in [*values, np.median(values)]]


def _counts(values: list[int]) -> list[str]:
    return [f"{value:,.0f}" for value in [*values, np.median(values)]]


def _ratios(values: np.ndarray) -> list[str]:
    return [f"{value:.2f}" for value in [*values, np.median(values)]]
