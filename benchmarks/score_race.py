"""Seconds to a target mean return: ``distpolicy train`` beside a peer, seed by seed.

Two times are told of each run: from the first env step, and of the whole command, from its start to its exit. The
second has in it what the first leaves out: imports, Ray's start, making the environments, and, for ours, the policy
and the report that a run leaves.

Ours compiles from its start on; what is left of that at the first env step is in its seconds, and is also told apart.
It is measured twice: ``cold`` compiles everything, as the first run of some settings on a machine does; ``warm`` finds
the update in the compile cache, as every later run does, with another seed, too. (The cache is the benchmark's own,
filled by one run that is not counted.)

A run that did not come to the target has no time. Its ratio is a bound: the peer would have taken longer than until it
gave up (``> 3``), or ours would have (``< 3``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from reporting import met, print_table
from score_runs import Peer, PeerRun, Run, run_peer, train


class Interval(NamedTuple):
    """A ratio, or what is known of it.

    Attributes:
        low: The least that it can be.
        high: The most; infinity if the peer did not come to the target.
    """

    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.low:.2f}"
        if self.high == np.inf:
            return f"> {self.low:.2f}" if self.low > 0.0 else "unknown"
        return f"< {self.high:.2f}" if self.low == 0.0 else f"{self.low:.2f} to {self.high:.2f}"


def race(num_seeds: int, options: Sequence[str], peer: Peer | None, goal: float) -> None:
    """Runs all sides on every seed, and prints a row a seed, the medians and the goals.

    Args:
        num_seeds: Seeds are from 0 on.
        options: Of ``distpolicy train``.
        peer: The peer; None to do without.
        goal: How many times as fast as the peer's quickest form ours has to be in the median.
    """
    ours: dict[str, list[Run]] = {"cold": [], "warm": []}
    peers: dict[str, list[PeerRun]] = {name: [] for name in (peer.forms if peer else ())}
    with tempfile.TemporaryDirectory() as cache:
        train(_options(options, num_seeds), Path(cache))
        for seed in range(num_seeds):
            ours["cold"].append(train(_options(options, seed)))
            ours["warm"].append(train(_options(options, seed), Path(cache)))
            if peer:
                for name, form in peer.forms.items():
                    peers[name].append(run_peer(peer, ["--seed", str(seed), *form]))
            shown = [f"{name} {runs[-1].train_s:.1f} s" for name, runs in [*ours.items(), *peers.items()]]
            print(f"seed {seed}: {', '.join(shown)}", flush=True)
    _print_seconds(ours, peers)
    for name, runs in [*ours.items(), *peers.items()]:
        solved = sum(run.solved for run in runs)
        unsolved = "" if solved == len(runs) else "; seconds of the others are those until they gave up"
        print(f"{name}: {solved} of {len(runs)} seeds solved{unsolved}")
    print(f"goal: every seed of ours solved: {met(all(run.solved for runs in ours.values() for run in runs))}")
    if peers:
        best = min(peers, key=lambda name: float(np.median([run.train_s for run in peers[name]])))
        _print_ratios(ours, peers[best], best, goal)


def ratio(peer: PeerRun, run: Run, peer_s: float, our_s: float) -> Interval:
    """How many times as fast ours was; a bound where a side did not come to the target."""
    value = peer_s / our_s
    return Interval(value if run.solved else 0.0, value if peer.solved else np.inf)


def median(ratios: Sequence[Interval]) -> Interval:
    """The median, which is a bound if it depends on runs that did not come to the target."""
    return Interval(float(np.median([item.low for item in ratios])), float(np.median([item.high for item in ratios])))


def _options(options: Sequence[str], seed: int) -> list[str]:
    return [*options, "--seed", str(seed), "--eval-episodes", "0"]


def _print_seconds(ours: dict[str, list[Run]], peers: dict[str, list[PeerRun]]) -> None:
    cold, warm = ours["cold"], ours["warm"]
    columns = {}
    for name, runs in [*ours.items(), *peers.items()]:
        columns[name] = _seconds([run.train_s for run in runs])
        columns[f"{name}: command"] = _seconds([run.command_s for run in runs])
    columns["without compile"] = _seconds([_without_compile(run) for run in cold])
    columns["compile, cold"] = _seconds([run.warm_up_s for run in cold])
    columns["compile, warm"] = _seconds([run.warm_up_s for run in warm])
    for name, runs in [("", cold), *peers.items()]:
        columns[f"{name}: steps" if name else "steps"] = _counts([run.env_steps for run in runs])
    seeds = [*(str(seed) for seed in range(len(cold))), "median"]
    print_table(["seed", *columns], [list(row) for row in zip(seeds, *columns.values(), strict=True)])


def _print_ratios(ours: dict[str, list[Run]], peer: list[PeerRun], name: str, goal: float) -> None:
    print(f"peer: {', '.join(f'{key} {value}' for key, value in peer[0].versions.items())}; ratios are of {name}")
    sides: dict[str, tuple[list[Run], Callable[[PeerRun], float], Callable[[Run], float]]] = {
        "cold": (ours["cold"], _train_s, _train_s),
        "warm": (ours["warm"], _train_s, _train_s),
        "without compile": (ours["cold"], _train_s, _without_compile),
        "whole command, cold": (ours["cold"], _command_s, _command_s),
        "whole command, warm": (ours["warm"], _command_s, _command_s),
    }
    rows = []
    for side, (runs, peer_s, our_s) in sides.items():
        ratios = [ratio(one, run, peer_s(one), our_s(run)) for one, run in zip(peer, runs, strict=True)]
        middle = median(ratios)
        judged = "reported" if side.startswith("whole") else met(middle.low >= goal)
        rows.append([side, *map(str, ratios), str(middle), judged])
    seeds = [f"seed {seed}" for seed in range(len(peer))]
    print_table(["times as fast as the peer", *seeds, "median", f"goal: {goal:g}"], rows)


def _train_s(run: Run | PeerRun) -> float:
    return run.train_s


def _command_s(run: Run | PeerRun) -> float:
    return run.command_s


def _without_compile(run: Run) -> float:
    return run.train_s - run.compile_wait_s


def _seconds(values: Sequence[float]) -> list[str]:
    return [f"{value:.1f} s" for value in [*values, np.median(values)]]


def _counts(values: Sequence[int]) -> list[str]:
    return [f"{value:,.0f}" for value in [*values, np.median(values)]]
