"""What recurrent policies cost, and how soon they solve CartPole without velocities, beside sb3-contrib.

- learner: updates a second of PPO with an LSTM, beside a feed-forward network of the same size, with XLA and without
  (``recurrent_learner.py``);
- collector: steps a second likewise (``recurrent_collector.py``);
- score: seconds from the first env step to a mean return of 475 over the last 100 training episodes, beside
  sb3-contrib's RecurrentPPO with RL-Zoo's settings (``peers/sb3_recurrent.py``), with as many threads of PyTorch as
  make it quicker: a short run of each says which. ``cold`` and ``warm`` are without and with the compile cache (see
  ``score_race.py``). The goal is a median ratio of at least 5, and every seed solved;
- feed-forward: the same network without cells on the same environment: no mean of 100 training episodes, and no final
  evaluation, comes to 150.

Things that are compared take turns in one run; each ratio is of one turn, or of one seed. The first two are processes
of their own, with as many threads as a learner and a collector have.

    python benchmarks/recurrent.py --peer-python PATH/TO/A/python/that/has/sb3-contrib
    python benchmarks/recurrent.py --only learner collector
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from recurrent_configs import PRESETS, describe, feed_forward
from reporting import met, print_header, print_table
from score_race import race
from score_runs import Peer, run_peer, train

from launch.config.presets import load_preset

GOAL = 5.0
FEED_FORWARD_LIMIT = 150.0
PEER_SCRIPT = "sb3_recurrent.py"
PROBE_STEPS = 2048
PARTS = ("learner", "collector", "score", "feed-forward")


def quicker_peer(python: str) -> Peer:
    """The peer with the number of threads that a short run is quicker with."""
    counts = sorted({1, os.cpu_count() or 1})
    forms = {f"SB3, {count} thread{'s' if count > 1 else ''}": ["--threads", str(count)] for count in counts}
    seconds = {
        name: run_peer(Peer(PEER_SCRIPT, python, forms), ["--max-steps", str(PROBE_STEPS), *form]).train_s
        for name, form in forms.items()
    }
    best = min(seconds, key=lambda name: seconds[name])
    shown = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    print(f"peer: {PROBE_STEPS:,} steps take: {shown}; the race is with {best}", flush=True)
    return Peer(PEER_SCRIPT, python, {best: forms[best]})


def print_feed_forward(preset: str, num_seeds: int) -> None:
    """The table of runs without cells."""
    config = feed_forward(load_preset(preset))
    options = ["--preset", preset, "--network.recurrent", "none", "--eval-episodes", "100"]
    for name, units in (("network.actor", config.network.actor_units), ("ppo.value", config.agent.value_units)):
        options += [f"--{name}-units", *map(str, units)]
    runs = [train([*options, "--seed", str(seed)]) for seed in range(num_seeds)]
    columns = ["seed", "env steps", "best mean of 100 episodes", "evaluation"]
    rows = [
        [str(seed), f"{run.env_steps:,}", f"{run.best_return:.1f}", f"{run.greedy:.1f}"]
        for seed, run in enumerate(runs)
    ]
    print(f"{describe(config)} on {config.env}")
    print_table(columns, rows)
    highest = max(value for run in runs for value in (run.best_return, run.greedy) if value is not None)
    limit = f"stays under {FEED_FORWARD_LIMIT:g}"
    print(f"goal: a feed-forward policy {limit} on every seed: {met(highest < FEED_FORWARD_LIMIT)} ({highest:.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--preset", choices=PRESETS, default=PRESETS[0], help="what is trained")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--turns", type=int, default=20, help="turns of learner and collector")
    here = sys.executable if importlib.util.find_spec("sb3_contrib") else None
    parser.add_argument("--peer-python", default=here, help="a Python that has sb3-contrib; this one, if it has it")
    arguments = parser.parse_args()
    for part in ("learner", "collector"):
        if part in arguments.only:
            script = Path(__file__).with_name(f"recurrent_{part}.py")
            options = ["--preset", arguments.preset, "--turns", str(arguments.turns)]
            subprocess.run([sys.executable, str(script), *options], check=True)
            print()
    packages = ["ray", "tensorflow", "gymnasium"]
    if "score" in arguments.only:
        print_header(f"{arguments.preset}: first env step to a 100-episode mean of 475", packages)
        peer = quicker_peer(arguments.peer_python) if arguments.peer_python else None
        if peer is None:
            print("SKIPPED: sb3-contrib, which this Python does not have; give one that has it by --peer-python")
        race(arguments.seeds, ["--preset", arguments.preset], peer, GOAL)
        print()
    if "feed-forward" in arguments.only:
        print_header("the same environment without memory", packages)
        print_feed_forward(arguments.preset, arguments.seeds)


if __name__ == "__main__":
    main()
