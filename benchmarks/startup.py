"""Seconds from the command ``distpolicy train`` to the first env step, beside what must be started for it.

The floor is what a run on Ray that learns by TensorFlow has to do: Ray's own start, by ``ray.init`` without the
dashboard, and one import of TensorFlow. Each part is timed in a fresh process that does nothing else, less the time
that an empty Python takes.

The command tells the seconds from its entry point to the first env step; what the interpreter needs to get there is
added, as the time that ``distpolicy --version``, which imports the same modules, takes in all.

Command and floor take turns; each ratio is of one turn. The goal is a median ratio of at most 1.3.

    python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from reporting import met, print_header, print_table

GOAL = 1.3
TIMEOUT_S = 600.0
COMMAND = [sys.executable, "-m", "launch"]
RAY_INIT = """
import ray
ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="error")
print("up", flush=True)
"""
# Our own start of Ray, which leaves out the services of a cluster.
OUR_INIT = """
from launch.cluster import session
with session.connected(None):
    print("up", flush=True)
"""
# What a learner does before the first env step, each part with its seconds.
LEARNER = """
import json, time
seconds, last = {}, time.perf_counter()
def done(part):
    global last
    now = time.perf_counter()
    seconds[part], last = now - last, now
import tensorflow
done("import tensorflow")
import tensorflow_probability.python.distributions
done("import tensorflow_probability")
from launch.config.presets import load_preset
from launch.training.factories import AgentFactory
from workers.environments.probe import probe
from workers.learning.learner import Learner
config = load_preset("cartpole-ppo")
specs = probe(config.environment_factory)
done("config and environment")
learner = Learner(AgentFactory(config, specs))
done("build the agent")
learner.policy_program("collect", (config.envs_per_collector,))
done("convert the policy")
learner.warm_up(64, config.rollout_steps)
done("compile the update (overlaps the first rollout)")
print(json.dumps(seconds))
"""
# What workers/actors.py gives to workers.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


class Start(NamedTuple):
    """One start of the command.

    Attributes:
        seconds: Until the first env step.
        memory: The peak memory of each process, as the command prints it.
    """

    seconds: float
    memory: str


def run_s(arguments: list[str]) -> float:
    """Seconds that a process takes."""
    start = time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True, timeout=TIMEOUT_S, env={**os.environ, **QUIET})
    return time.perf_counter() - start


def ray_init_s(script: str) -> float:
    """Seconds until Ray is up in a fresh process; its shutdown is not in them."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "up\n":
            raise RuntimeError("ray.init failed")
        seconds = time.perf_counter() - start
        process.communicate(timeout=TIMEOUT_S)
    return seconds


def learner_s() -> dict[str, float]:
    """Seconds of each part of a learner's start, in a fresh process that does nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", LEARNER],
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, **QUIET},
    )
    return json.loads(done.stdout.splitlines()[-1])


def train() -> Start:
    """A short run of the command."""
    to_entry_s = run_s([*COMMAND, "--version"])
    with tempfile.TemporaryDirectory() as folder:
        run_dir = str(Path(folder) / "run")
        options = ["--total-steps", "4096", "--eval-episodes", "0", "--run-dir", run_dir]
        result = subprocess.run(
            [*COMMAND, "train", *options], check=True, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    found = re.search(r"first env step after ([\d.]+) s", result.stdout)
    memory = re.search(r"peak memory: (.*)", result.stdout)
    if found is None or memory is None:
        raise RuntimeError(f"the command did not print what this script reads:\n{result.stdout}")
    return Start(to_entry_s + float(found[1]), memory[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="turns of the command and of the floor")
    arguments = parser.parse_args()
    print_header("startup: command to first env step", ["ray", "tensorflow"])
    rows, turns = [], []
    memory = ""
    for turn in range(arguments.repeats):
        started = train()
        memory = started.memory
        empty_s = run_s([sys.executable, "-c", ""])
        init_s = ray_init_s(RAY_INIT) - empty_s
        our_init_s = ray_init_s(OUR_INIT) - empty_s
        import_s = run_s([sys.executable, "-c", "import tensorflow"]) - empty_s
        floor_s = init_s + import_s
        turns.append((started.seconds, init_s, our_init_s, import_s, floor_s, started.seconds / floor_s))
        rows.append([str(turn + 1), *_cells(turns[-1])])
    medians = np.median(turns, axis=0)
    rows.append(["median", *_cells(medians)])
    columns = ["turn", "first env step", "ray.init", "our start of Ray", "import tensorflow", "floor", "ratio"]
    print_table(columns, rows)
    print_table(
        ["part of the learner's start", "seconds"], [[part, f"{each:.2f}"] for part, each in learner_s().items()]
    )
    print(f"peak memory: {memory}")
    print(f"goal: a ratio of at most {GOAL}: {met(medians[-1] <= GOAL)} ({medians[-1]:.2f})")


def _cells(values: tuple[float, ...] | np.ndarray) -> list[str]:
    return [*(f"{value:.2f} s" for value in values[:-1]), f"{values[-1]:.2f}"]


if __name__ == "__main__":
    main()
