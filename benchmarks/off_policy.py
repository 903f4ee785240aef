"""Off-policy learning beside Stable-Baselines3 and SBX.

- ``score``: from nothing to an evaluation of 475 on CartPole-v1 (DQN) and of -200 on Pendulum-v1 (SAC with layers of
  256 and of 64), seed by seed, in turns. The seconds are those of the whole command and those from the first env step,
  and the CPU seconds are of all its processes. Ours runs on Ray, and by ``--serial`` in one process, as the peers do.
  Peers have RL-Zoo's settings. All evaluate the greedy policy over 20 episodes, every 5,000 env steps of CartPole and
  every 1,000 of Pendulum. In SAC all sides take one gradient step an env step, of a batch of 256.
- ``steps``: gradient steps a second with a replay buffer that is full enough, batch 256, in turns: DQN and SAC with
  dense layers, and DQN with the convolutions of Mnih et al. (2015). ``compiled loop`` is ours with batches at hand,
  without drawing them.

Peers need no place in our environment:

    python benchmarks/off_policy.py score steps --sb3-python PATH --sbx-python PATH
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from collect_peers import Peer as TurnPeer
from collect_peers import PeerProcess
from reporting import met, print_header, print_table
from score_runs import PEERS, Peer, run_peer, train

SCRIPT = "sb3_off_policy.py"
SAC = ["--preset", "pendulum-sac", "--eval-every", "16", "--sac.batch-size", "256", "--sac.samples-per-insert", "256"]
# Options of ours, the peers' case, and the least ratio of the peers' seconds to ours.
RACES: dict[str, tuple[list[str], str, dict[str, float]]] = {
    "DQN, CartPole": (
        ["--preset", "cartpole-dqn", "--eval-every", "39", "--eval-episodes", "20"],
        "dqn-cartpole",
        {"SBX": 2.5, "SB3": 8.0},
    ),
    "SAC 256, Pendulum": (
        [*SAC, "--network.actor-units", "256", "256", "--sac.critic-units", "256", "256"],
        "sac-pendulum",
        {"SBX": 1.1, "SB3": 2.5},
    ),
    "SAC 64, Pendulum": (SAC, "sac-pendulum-64", {"SBX": 2.5}),
}
# Sides of a race that are ours, and their further options.
OURS: dict[str, list[str]] = {"ours": [], "ours, --serial": ["--serial"]}
STEPS_GOALS = {"SBX": 1.0, "SB3": 3.0}
LOOP_GOAL = 0.9
POLL_S = 0.2
BATCH_SIZE = 256
# What takes gradient steps: the environment, the agent, its layers, the gradient steps of a call, and the capacity.
STEPS: dict[str, tuple[str, str, dict[str, tuple[int, ...]], int, int]] = {
    "dqn-64": ("CartPole-v1", "dqn", {"actor_units": (64, 64)}, 64, 100_000),
    "dqn-nature": ("frames_env:Frames", "dqn", {"encoder_units": (512,), "actor_units": ()}, 4, 5_000),
    "sac-256": ("Pendulum-v1", "sac", {"actor_units": (256, 256)}, 64, 100_000),
    "sac-64": ("Pendulum-v1", "sac", {"actor_units": (64, 64)}, 64, 100_000),
}
SECONDS = ("train_s", "command_s", "cpu_s")


class Timed(NamedTuple):
    """One run of one side.

    Attributes:
        solved: Whether it reached the target.
        env_steps: Env steps.
        train_s: Seconds from the first env step.
        command_s: Seconds of the whole command.
        cpu_s: CPU seconds of all its processes.
    """

    solved: bool
    env_steps: int
    train_s: float
    command_s: float
    cpu_s: float


class ChildrenCpu:
    """Adds up the CPU seconds of all processes that begin under this one while it is open."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ChildrenCpu:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """The sum."""
        return sum(self._seconds.values())

    def _watch(self) -> None:
        while not self._ended.wait(POLL_S):
            for process in psutil.Process().children(recursive=True):
                try:
                    times = process.cpu_times()
                    self._seconds[process.pid, process.create_time()] = times.user + times.system
                except psutil.Error:
                    continue


def timed(run: Callable[[], Any]) -> Timed:
    """Runs one side, and counts its CPU seconds."""
    with ChildrenCpu() as cpu:
        done = run()
    return Timed(done.solved, done.env_steps, done.train_s, done.command_s, cpu.seconds)


def race(name: str, seeds: int, peers: dict[str, str]) -> None:
    """Runs all sides on every seed, and prints the medians and ratios."""
    options, case, goals = RACES[name]
    runs: dict[str, list[Timed]] = {side: [] for side in (*OURS, *peers)}
    with tempfile.TemporaryDirectory() as cache:
        for more in OURS.values():
            train([*options, *more, "--seed", str(seeds)], Path(cache))
        for seed in range(seeds):
            for side, more in OURS.items():
                given = [*options, *more, "--seed", str(seed)]
                runs[side].append(timed(lambda given=given: train(given, Path(cache))))
            for peer, python in peers.items():
                process = Peer(SCRIPT, python, {})
                arguments = [peer.lower(), case, "--seed", str(seed)]
                runs[peer].append(timed(lambda process=process, arguments=arguments: run_peer(process, arguments)))
            shown = [f"{side} {done[-1].command_s:.1f} s ({done[-1].env_steps:,})" for side, done in runs.items()]
            print(f"{name}, seed {seed}: {', '.join(shown)}", flush=True)
    rows = []
    for side, done in runs.items():
        medians = [f"{np.median([getattr(one, key) for one in done]):.1f}" for key in SECONDS]
        steps = f"{np.median([one.env_steps for one in done]):,.0f}"
        rows.append([side, f"{sum(one.solved for one in done)} of {seeds}", steps, *medians])
    print(name)
    print_table(["side", "solved", "env steps", "from first step, s", "command, s", "CPU, s"], rows)
    rows = [[f"{peer} / {side}", *_ratios(runs[peer], runs[side], goals.get(peer))] for peer in peers for side in OURS]
    print_table(["median ratio", "from first step", "command", "CPU", "goal for the command"], rows)


def _ratios(peer: list[Timed], ours: list[Timed], goal: float | None) -> list[str]:
    """Returns the medians over the seeds of how many times as long a peer took, and whether the goal is met."""
    if not all(one.solved for one in ours):
        return ["", "", "", "missed: ours did not solve every seed"]
    bound = "" if all(one.solved for one in peer) else "> "
    found = {}
    for key in SECONDS:
        ratios = [getattr(one, key) / getattr(own, key) for one, own in zip(peer, ours, strict=True)]
        found[key] = float(np.median(ratios))
    told = "" if goal is None else f"{goal:g}: {met(found['command_s'] >= goal)}"
    return [*(f"{bound}{ratio:.2f}" for ratio in found.values()), told]


class OurSteps:
    """Takes gradient steps as a learner does, from a replay buffer of random steps.

    Args:
        case: A key of :data:`STEPS`.
        draws: Whether batches are drawn; otherwise the first one is used again.
        mixed_precision: Whether hidden layers compute in bfloat16.
    """

    def __init__(self, case: str, draws: bool, mixed_precision: bool = False) -> None:
        from distpolicy.agents.agent_config import AgentConfig
        from distpolicy.networks.network_config import NetworkConfig
        from launch.config.train import TrainConfig
        from launch.training.factories import AgentFactory, PolicyFactory
        from workers.collection.collector import Collector, CollectorConfig
        from workers.environments.probe import probe
        from workers.learning.learner import Learner

        env, kind, layers, num_updates, capacity = STEPS[case]
        settings = {
            "batch_size": BATCH_SIZE,
            "samples_per_insert": 1e-6,
            "updates_per_call": num_updates,
            "learning_starts": 1,
            "replay_capacity": capacity,
        }
        # The peers have no double Q-learning, which takes another pass over the next observations.
        more = {"double_q": False} if kind == "dqn" else {"critic_units": layers["actor_units"]}
        config = TrainConfig(
            env=env,
            collectors=1,
            envs_per_collector=8,
            rollout_steps=64,
            network=NetworkConfig(**layers, activation="relu"),
            agent=AgentConfig.of_kind(kind)(**settings, **more),
            mixed_precision=mixed_precision,
        )
        learner = Learner(
            AgentFactory(config, probe(config.environment_factory)), 0, 0, config.agent.experience(config.shape), 0
        )
        learner.warm_up(8, 64)
        collector = Collector(CollectorConfig(0, 0, 8, 64, 0), config.environment_factory, PolicyFactory(config))
        for _ in range(10):
            rollout, _ = collector.rollout(learner.weights())
            learner.update(0.0, rollout)
        collector.close()
        self._learner, self._draws, self._turn, self._num_updates = learner, draws, 0, num_updates
        self._sample = self._draw()

    def _draw(self) -> Any:
        self._turn += 1
        experience = self._learner._experience
        experience._debt._debt += self._num_updates * BATCH_SIZE
        return next(iter(experience.due(0.0, (self._turn,))))

    def run(self, least_s: float = 0.4) -> float:
        """Gradient steps a second of a turn."""
        num_steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < least_s:
            self._learner._train(self._draw() if self._draws else self._sample, 0.0, (self._turn,))
            num_steps += self._num_updates
        return num_steps / (time.perf_counter() - start)

    def close(self) -> None:
        """Does nothing: it has no process of its own."""


def steps(case: str, turns: int, peers: dict[str, str], mixed_precision: bool) -> None:
    """Takes turns with gradient steps, and prints the medians."""
    with ExitStack() as stack:
        sides: dict[str, Any] = {
            "ours": OurSteps(case, draws=True),
            "ours, compiled loop": OurSteps(case, draws=False),
        }
        if mixed_precision:
            sides["ours, bfloat16"] = OurSteps(case, draws=True, mixed_precision=True)
        for peer, python in peers.items():
            sides[peer] = PeerProcess(TurnPeer(peer, SCRIPT, "", 0.0, {}), python, [peer.lower(), case, "--turns"])
            stack.callback(sides[peer].close)
        for side in sides.values():
            side.run()
        speeds = {name: np.array([0.0] * turns) for name in sides}
        for turn in range(turns):
            for name, side in sides.items():
                speeds[name][turn] = side.run()
    rows = []
    for name, found in speeds.items():
        ratio = float(np.median(speeds["ours"] / found))
        goal = {**STEPS_GOALS, "ours, compiled loop": LOOP_GOAL}.get(name)
        told = "" if goal is None else f"{goal} {met(ratio >= goal)}"
        rows.append([name, f"{np.median(found):,.0f}", f"{1000 / np.median(found):.2f} ms", f"{ratio:.2f}", told])
    print(f"gradient steps, {case}, batch 256")
    print_table(["side", "steps/s", "a step", "ours is x as fast", "goal"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("cases", nargs="+", choices=["score", "steps"])
    parser.add_argument("--only", nargs="+", help="names of the races or of the kinds of steps")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--turns", type=int, default=15, help="turns of gradient steps")
    parser.add_argument("--mixed-precision", action="store_true", help="take gradient steps in bfloat16 as well")
    parser.add_argument("--sb3-python", help="a Python that has stable-baselines3")
    parser.add_argument("--sbx-python", help="a Python that has sbx-rl")
    arguments = parser.parse_args()
    sys.path.append(str(PEERS))  # For the environment of frames.
    print_header("off-policy learning", ["ray", "tensorflow", "gymnasium"])
    given = {"SB3": arguments.sb3_python, "SBX": arguments.sbx_python}
    peers = {name: python for name, python in given.items() if python}
    for name in given.keys() - peers.keys():
        print(f"SKIPPED: {name}, whose Python was not given")
    if "steps" in arguments.cases:
        for case in STEPS:
            if not arguments.only or case in arguments.only:
                steps(case, arguments.turns, peers, arguments.mixed_precision)
    if "score" in arguments.cases:
        for name in RACES:
            if not arguments.only or name in arguments.only:
                race(name, arguments.seeds, peers)


if __name__ == "__main__":
    sys.exit(main())
