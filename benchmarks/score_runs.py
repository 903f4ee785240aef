"""One run until a target mean return, of ``distpolicy train`` or of a peer, and the seconds that it took."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

PEERS = Path(__file__).parent / "peers"
TIMEOUT_S = 3600.0


class Run(NamedTuple):
    """One run of ours.

    Attributes:
        solved: Whether it reached the target.
        env_steps: Steps that it took.
        train_s: Seconds from the first env step.
        command_s: Seconds of the whole command, from its start to its exit.
        compile_wait_s: How many of them the first update waited to be compiled.
        warm_up_s: Seconds of compiling in all, most of it before the first env step.
        best_return: The highest mean of 100 training episodes.
        greedy: Mean return of the greedy policy in the final evaluation; None if there was none.
        stochastic: The same of the policy that draws its actions.
    """

    solved: bool
    env_steps: int
    train_s: float
    command_s: float
    compile_wait_s: float
    warm_up_s: float
    best_return: float
    greedy: float | None
    stochastic: float | None


class PeerRun(NamedTuple):
    """One run of a peer.

    Attributes:
        solved: Whether it reached the target.
        env_steps: Steps that it took.
        train_s: Seconds from the first env step.
        command_s: Seconds of the whole command, from its start to its exit.
        versions: Of its packages.
    """

    solved: bool
    env_steps: int
    train_s: float
    command_s: float
    versions: dict[str, str]


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
        output, command_s = _output([sys.executable, "-m", "launch", "train", *options], environment)
        with open(run_dir / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        # With the evaluation that ended it, unlike the last row of its metrics.
        train_s = float(json.loads((run_dir / "run.json").read_text())["end"]["train_s"])
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
        train_s=train_s,
        command_s=command_s,
        compile_wait_s=wait_s,
        warm_up_s=float(warm_up[1]),
        best_return=max(means, default=float("nan")),
        greedy=_evaluated("greedy", output),
        stochastic=_evaluated("stochastic", output),
    )


def _evaluated(policy: str, output: str) -> float | None:
    # The last one is the final evaluation.
    found = re.findall(rf"evaluation of the {policy} policy: .* mean return (-?[\d.,]+)", output)
    return float(found[-1].replace(",", "")) if found else None


def run_peer(peer: Peer, options: Sequence[str]) -> PeerRun:
    """A run of the peer.

    Raises:
        RuntimeError: If it fails.
    """
    output, command_s = _output([peer.python, str(PEERS / peer.script), *options])
    return PeerRun(command_s=command_s, **json.loads(output.splitlines()[-1]))


def _output(command: list[str], environment: dict[str, str] | None = None) -> tuple[str, float]:
    """What a command prints, and its seconds from start to exit.

    Raises:
        RuntimeError: If it fails; holds the last lines that it wrote to stderr.
    """
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    seconds = time.perf_counter() - start
    if result.returncode:
        last = "\n".join(result.stderr.splitlines()[-20:])
        raise RuntimeError(f"`{' '.join(command)}` ended with exit code {result.returncode}:\n{last}")
    return result.stdout, seconds
