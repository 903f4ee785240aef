"""Env steps a second of collectors, beside what environments and inference alone allow, and beside peers.

Things that are compared take turns in one run; each ratio is the median over the turns of the two figures of one turn.
All count slots times steps, the steps that reset a slot included. But for Ray's and two groups everything is one
process with one thread, as collectors have it.

- collector: rollouts of a :class:`workers.collection.collector.Collector` with the policy that a run builds (two
  layers of 64), an LSTM of 64 or the Nature CNN, each with new weights;
- env: the environment alone, stepped with actions that were drawn beforehand: the faster of the collector's own and
  the vector environment that a user makes by ``gym.make_vec`` (or EnvPool);
- env + NumPy: that vector environment with the same network's bare inference in NumPy: two tanh layers of 64, logits,
  a draw by the Gumbel-max trick and its log-probability;
- Ray: two collectors as actors, beside twice the rate of one environment alone, for steps of several costs;
- groups: a collector whose slots are stepped in two groups, so that the policy acts for one while the other is stepped,
  beside one with one group; both may use all CPUs;
- dataset: a collector that writes Parquet, until all is whole on disk, beside one that does not;
- peers: each in a process of its own, with the same environment, slots, steps of a rollout and size of network, in each
  of its ways to step environments without more processes: beside ours with the same form of the environment, and its
  quickest beside our quickest.

The goals are shares of env for environments stepped one by one, and of env + NumPy for vectorised ones, where inference
costs as much as the environment.

    python benchmarks/collect.py
    python benchmarks/collect.py --only cartpole-vector-64 dataset --turns 100
    python benchmarks/collect.py --only sb3 --sb3-python PATH/TO/A/python/that/has/it
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import partial

# Before TensorFlow and NumPy are imported; the same as workers/actors.py gives to collectors.
os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import collect_dataset
import collect_groups
import collect_peers
import collect_scaling
import collect_sides
import numpy as np
from collect_sides import Case
from reporting import met, print_header, print_table

CASES = {
    "cartpole-sync": Case("CartPole-v1", "sync", 64, 4, "env", 0.9),
    "cartpole-vector-64": Case("CartPole-v1", "vector_entry_point", 64, 12, "env + NumPy", 0.8),
    "cartpole-vector-1024": Case("CartPole-v1", "vector_entry_point", 1024, 4, "env + NumPy", 0.9),
    "envpool": Case("CartPole-v1", "envpool", 64, 6, "env", 0.5, needs={"envpool": "distpolicy[envpool]"}),
    "lunarlander": Case("LunarLander-v3", "sync", 16, 4, "env", 0.93, needs={"Box2D": "distpolicy[box2d]"}),
    "halfcheetah": Case("HalfCheetah-v5", "sync", 16, 4, "env", 0.93, needs={"mujoco": "distpolicy[mujoco]"}),
    "pong": Case(
        "ALE/Pong-v5",
        "vector_entry_point",
        16,
        1,
        "env",
        None,
        policy="Nature CNN",
        most_turns=8,
        needs={"ale_py": "distpolicy[atari]"},
    ),
    "lstm": Case("CartPole-v1", "sync", 64, 4, "env", 0.6, policy="LSTM 64"),
}


class Tally:
    """How many goals there were, and how many were met."""

    def __init__(self) -> None:
        self.num_goals = self.num_met = 0

    def judge(self, reached: bool) -> str:
        """What the table says."""
        self.num_goals += 1
        self.num_met += reached
        return met(reached)


def print_limits(names: list[str], turns: int, tally: Tally) -> None:
    """The table of collectors beside their limits."""
    rows, notes = [], []
    for name in names:
        case = CASES[name]
        missing = [package for module, package in case.needs.items() if importlib.util.find_spec(module) is None]
        if missing:
            print(f"{name}: skipped: pip install '{missing[0]}'", flush=True)
            continue
        figures = collect_sides.measure(case, turns)
        numpy_speeds = figures.speeds.get("env + NumPy")
        ratio = figures.ratio(case.limit)
        rows.append(
            [
                f"{case.env_id} {case.vectorization} {case.num_slots}, {case.policy}",
                _median(figures.speeds["collector"]),
                _median(figures.speeds["env"]),
                "" if numpy_speeds is None else _median(numpy_speeds),
                f"{figures.ratio('env'):.2f}",
                "" if numpy_speeds is None else f"{figures.ratio('env + NumPy'):.2f}",
                "reported" if case.goal is None else f">= {case.goal} of {case.limit}",
                "" if case.goal is None else tally.judge(ratio >= case.goal),
            ]
        )
        rest = 1.0 - figures.env_share - figures.policy_share
        notes.append(
            f"{rows[-1][0]}: env is {figures.env_name}; inference by {figures.inference}; the collector's time is "
            f"{figures.env_share:.0%} env, {figures.policy_share:.0%} policy, {rest:.0%} the rest"
        )
    if rows:
        print_table(
            ["collector", "collector/s", "env/s", "env + NumPy/s", "of env", "of env + NumPy", "goal", ""], rows
        )
        print("\n".join(notes), flush=True)


def print_scaling(turns: int) -> None:
    """The table of two collectors on Ray."""
    if (os.cpu_count() or 1) < collect_scaling.NUM_COLLECTORS:
        print(f"ray: skipped: {collect_scaling.NUM_COLLECTORS} collectors need a CPU each")
        return
    rows = [
        [
            f"{result.cost.step_s * 1e6:,.0f} µs",
            _median(result.env_speeds),
            _median(result.speeds),
            f"{result.ratio:.2f}",
        ]
        for result in collect_scaling.measure(turns)
    ]
    count, slots = collect_scaling.NUM_COLLECTORS, collect_scaling.SLOTS_EACH
    print_table([f"step cost, sync {slots}", "one env/s", f"{count} collectors/s", "efficiency"], rows)


def print_groups(turns: int) -> None:
    """The table of collectors with two groups of slots."""
    rows = []
    for case in collect_groups.CASES:
        if package := collect_groups.missing_package(case):
            print(f"groups, {case.title}: skipped: pip install '{package}'", flush=True)
            continue
        figures = collect_groups.measure(case, turns)
        rows.append(
            [
                case.title,
                _median(figures.speeds[1]),
                _median(figures.speeds[2]),
                f"{figures.ratio:.2f}",
                f"{figures.env_share:.0%} env, {figures.policy_share:.0%} policy",
            ]
        )
    cpus = len(os.sched_getaffinity(0))
    print_table([f"groups of slots, {cpus} CPUs", "one/s", "two/s", "two / one", "time of one"], rows)


def print_dataset(turns: int, tally: Tally) -> None:
    """The table of the dataset's cost."""
    rows = []
    for case in collect_dataset.CASES:
        if case.cpus > (os.cpu_count() or 1):
            print(f"dataset on {case.cpus} CPUs: skipped: there are fewer")
            continue
        speeds = collect_dataset.measure(case, turns)
        cost = 1.0 - float(np.median(speeds["writing"] / speeds["collector"]))
        rows.append(
            [
                f"CartPole-v1 {case.vectorization} {collect_dataset.NUM_SLOTS}, {case.cpus} CPU",
                _median(speeds["collector"]),
                _median(speeds["writing"]),
                f"{cost:.0%}",
                "reported" if case.goal is None else f"<= {case.goal:.0%}",
                "" if case.goal is None else tally.judge(cost <= case.goal),
            ]
        )
    print_table(["writing the dataset", "collector/s", "writing/s", "cost", "goal", ""], rows)


def print_peers(pythons: dict[str, str | None], turns: int, tally: Tally) -> None:
    """The table of peers, of which some may not be there.

    Args:
        pythons: For the option of each peer that is asked for a Python that has it, or None.
        turns: Turns of each.
        tally: Counts the goals.
    """
    rows, versions = [], []
    for peer in collect_peers.PEERS:
        if peer.option not in pythons:
            continue
        python = pythons[peer.option]
        if python is None:
            print(f"{peer.name}: skipped: give a Python that has it by {peer.option}", flush=True)
            continue
        try:
            figures = collect_peers.measure(peer, python, turns)
        except RuntimeError as error:
            print(f"{peer.name}: skipped: {error}", flush=True)
            continue
        versions.append(", ".join(f"{name} {value}" for name, value in figures.versions.items()))
        for pair in figures.pairs:
            goal = "reported" if pair.goal is None else f">= {pair.goal:g} x"
            judged = "" if pair.goal is None else tally.judge(pair.ratio >= pair.goal)
            sides = [f"{peer.name}, {pair.mode}", f"{pair.form}, {pair.title}"]
            rows.append([*sides, _median(pair.speeds), _median(pair.ours), f"{pair.ratio:.1f} x", goal, judged])
    if rows:
        print_table(["peer, CartPole-v1, 64 slots", "ours", "peer/s", "ours/s", "ratio", "goal", ""], rows)
        print("\n".join(f"peer: {text}" for text in versions), flush=True)


def _median(values: np.ndarray) -> str:
    return f"{np.median(values):,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    peers = {peer.option.removeprefix("--").removesuffix("-python"): peer.option for peer in collect_peers.PEERS}
    groups = ["ray", "groups", "dataset", *peers]
    parser.add_argument(
        "--only", nargs="+", choices=[*CASES, *groups], metavar="CASE", help=", ".join([*CASES, *groups])
    )
    parser.add_argument("--turns", type=int, default=40, help="turns of each side; long ones have a fifth of them")
    for peer in collect_peers.PEERS:
        parser.add_argument(peer.option, metavar="PATH", help=f"a Python that has what {peer.name} needs")
    arguments = parser.parse_args()
    chosen = arguments.only or [*CASES, *groups]
    few_turns = max(1, arguments.turns // 5)
    print_header("collecting", ["tensorflow", "gymnasium", "numpy", "ray"])
    tally = Tally()
    steps: list[Callable[[], None]] = [
        partial(print_limits, [name for name in CASES if name in chosen], arguments.turns, tally)
    ]
    if "groups" in chosen:
        steps.append(partial(print_groups, few_turns))
    if "dataset" in chosen:
        steps.append(partial(print_dataset, few_turns, tally))
    pythons = {option: _python(arguments, name) for name, option in peers.items() if name in chosen}
    steps.append(partial(print_peers, pythons, few_turns, tally))
    if "ray" in chosen:
        steps.append(partial(print_scaling, few_turns))
    for step in steps:
        step()
    print(f"{tally.num_met} of {tally.num_goals} goals met")


def _python(arguments: argparse.Namespace, name: str) -> str | None:
    """What was given for a peer; this Python for Stable-Baselines3, if it has it."""
    given = getattr(arguments, f"{name}_python")
    if given is None and name == "sb3" and importlib.util.find_spec("stable_baselines3") is not None:
        return sys.executable
    return given


if __name__ == "__main__":
    main()
