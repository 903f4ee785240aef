"""What a collector costs: peak memory, CPU time to come up, and the seconds until it has delivered a rollout.

Each row starts some collectors on a Ray of its own, all at once, with the policy's program and its weights at hand, and
takes a rollout of each. Then one of them is killed and another asked for in its place. Ray has a process ready for each
CPU of the machine; further ones are started for the collectors.

RLlib's env runners, as actors with as many environments and a network of the same size, and Stable-Baselines3's
SubprocVecEnv of as many environments stand beside it, if a Python that has them is given. SubprocVecEnv has no policy
in its processes, and no place on another machine. There are as many env runners as memory allows.

    python benchmarks/density.py [--peer-python PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import ray
from reporting import met, print_header, print_table

from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.weights import WeightsPacker
from launch.cluster import session
from launch.config.presets import load_preset
from launch.supervision import calls
from launch.training.factories import PolicyFactory
from workers.actors import start_collector
from workers.collection.collector import CollectorConfig
from workers.environments.probe import probe
from workers.inference.program_source import ProgramSource

TIMEOUT_S = 600.0
SLOTS, STEPS = 8, 32
PRESETS = {"CartPole": "cartpole-ppo", "Pendulum": "pendulum-ppo", "stateless LSTM": "stateless-cartpole-lstm"}
MOST_MIB, MOST_START_S, MOST_BACK_S = 150, 2.5, 3.0


class Density(NamedTuple):
    """What the collectors of one row cost.

    Attributes:
        name: The policy and its environment.
        count: Number of collectors.
        peak_mib: The highest peak memory of one, in MiB.
        cpu_s: CPU time of one, from its process's start to its first rollout.
        first_s: Seconds from asking for them to the first rollout of the quickest.
        all_s: The same of the slowest.
        back_s: Seconds from the death of one to a rollout of another in its place.
    """

    name: str
    count: int
    peak_mib: float
    cpu_s: float
    first_s: float
    all_s: float
    back_s: float

    def cells(self) -> list[str]:
        """The row of a table."""
        seconds = [f"{value:.2f} s" for value in (self.cpu_s, self.first_s, self.all_s, self.back_s)]
        return [self.name, str(self.count), f"{self.peak_mib:.0f} MiB", *seconds]


def measure(name: str, count: int) -> Density:
    """Starts collectors of a preset, and replaces one."""
    config = load_preset(PRESETS[name])
    factory = config.environment_factory
    specs = probe(factory)
    policy = PolicyFactory(config)(specs.time_step, specs.action).collect.policy
    builder = ProgramBuilder(policy, [SLOTS], "collect")
    packer = WeightsPacker(policy)
    packer.add_parameters("collect", builder.computed_parameters)
    with session.connected(None):
        program, weights = ray.put(builder.program), ray.put(packer.pack(0, 1))

        def start(index: int) -> Any:
            source = ProgramSource((program,), PolicyFactory(config), TIMEOUT_S)
            settings = CollectorConfig(index, index * SLOTS, SLOTS, STEPS, seed=0)
            return start_collector(settings, factory, source, {"CPU": 0.0})

        time.sleep(3.0)  # The processes that Ray has ready are up.
        begin = time.perf_counter()
        actors = [start(index) for index in range(count)]
        times = _deliver(actors, weights, begin)
        pids = [_ask(actor, lambda worker: os.getpid()) for actor in actors]
        processor_s = [sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids]
        peaks = [_ask(actor, lambda worker: worker.peak_memory_bytes()) for actor in actors]
        begin = time.perf_counter()
        os.kill(pids[0], signal.SIGKILL)
        (back_s,) = _deliver([start(0)], weights, begin)
    return Density(name, count, max(peaks) / 2**20, float(np.median(processor_s)), min(times), max(times), back_s)


def _deliver(actors: list[Any], weights: Any, begin: float) -> list[float]:
    """Takes a rollout of each; returns the seconds until each was there."""
    asked = [actor.rollout.options(num_returns=2).remote(weights)[1] for actor in actors]
    times = []
    while asked:
        (done, *_), asked = ray.wait(asked, timeout=TIMEOUT_S)
        calls.get(done, TIMEOUT_S)
        times.append(time.perf_counter() - begin)
    return times


def _ask(actor: Any, question: Callable[[Any], Any]) -> Any:
    return calls.get(actor.__ray_call__.remote(question), TIMEOUT_S)


PEERS = {"sb3_density.py": "SB3 SubprocVecEnv, CartPole", "rllib_density.py": "RLlib env runner, CartPole"}
RLLIB_MIB = 450


def peer(python: str, script: str, count: int) -> list[str]:
    """The row of a peer's processes."""
    if script == "rllib_density.py" and count * RLLIB_MIB > psutil.virtual_memory().available / 2**20:
        return [PEERS[script], str(count), "not enough memory", "", "", "", ""]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(Path(__file__).parent / "peers" / script), str(count)],
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment,
    )
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["no output"]
        return [PEERS[script], str(count), f"failed: {why[0][:60]}", "", "", "", ""]
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = [f"{found[key]:.2f} s" if key in found else "" for key in ("cpu_s", "first_s", "all_s")]
    return [PEERS[script], str(count), f"{found['peak_mib']:.0f} MiB", *seconds, ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 8, 32], help="numbers of collectors")
    parser.add_argument("--peer-python", help="a Python that has stable-baselines3 and RLlib")
    arguments = parser.parse_args()
    print_header("density: what a collector costs", ["ray", "tensorflow", "ai-edge-litert"])
    kinds = [("CartPole", count) for count in arguments.counts] + [("Pendulum", 1), ("stateless LSTM", 1)]
    found = [measure(name, count) for name, count in kinds]
    rows = [each.cells() for each in found]
    if arguments.peer_python:
        rows += [peer(arguments.peer_python, script, count) for script in PEERS for count in arguments.counts]
    columns = ["collectors", "number", "peak memory", "CPU to come up", "first rollout", "all rollouts", "killed, back"]
    print_table(columns, rows)
    alone = [each for each in found if each.count == 1]
    peak, start, back = (max(getattr(each, name) for each in alone) for name in ("peak_mib", "all_s", "back_s"))
    print(f"goal: peak memory of at most {MOST_MIB} MiB: {met(peak <= MOST_MIB)} ({peak:.0f})")
    print(f"goal: a rollout within {MOST_START_S} s: {met(start <= MOST_START_S)} ({start:.2f})")
    print(f"goal: back within {MOST_BACK_S} s of a death: {met(back <= MOST_BACK_S)} ({back:.2f})")


if __name__ == "__main__":
    main()
