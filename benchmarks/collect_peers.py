"""Peers' collecting beside ours: each in a process of its own, which waits while another has its turn."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from collect_sides import Case, CollectorSide

SCRIPTS = Path(__file__).parent / "peers"
OURS = {
    "best vector mode": Case("CartPole-v1", "vector_entry_point", 64, 80, "env", None),
    "sync": Case("CartPole-v1", "sync", 64, 24, "env", None),
}


class Peer(NamedTuple):
    """A library that we compare with.

    Attributes:
        name: Its name.
        script: In ``peers``.
        option: Of the command: a Python that has it.
        goals: How many times as fast ours has to be, for each of :data:`OURS`.
        modes: Options of the script for each of its ways to step environments in one process; the quickest counts.
    """

    name: str
    script: str
    option: str
    goals: dict[str, float]
    modes: dict[str, tuple[str, ...]]


PEERS = (
    Peer(
        "Stable-Baselines3",
        "sb3_collect.py",
        "--sb3-python",
        {"best vector mode": 5.0, "sync": 2.0},
        {"DummyVecEnv": ()},
    ),
    Peer(
        "RLlib's env runner",
        "rllib_collect.py",
        "--rllib-python",
        {"best vector mode": 20.0},
        {mode: ("--vectorization", mode) for mode in ("vector_entry_point", "sync")},
    ),
    Peer(
        "TorchRL's collector",
        "torchrl_collect.py",
        "--torchrl-python",
        {"best vector mode": 20.0},
        {"SerialEnv": ()},
    ),
)


class PeerFigures(NamedTuple):
    """What a peer came to.

    Attributes:
        versions: Of its packages.
        mode: The quickest of its modes.
        speeds: Its steps a second in every turn in that mode.
        ours: Those of each of :data:`OURS` that has a goal.
    """

    versions: dict[str, str]
    mode: str
    speeds: np.ndarray
    ours: dict[str, np.ndarray]


class PeerProcess:
    """A peer that takes a turn when it is told to.

    Args:
        peer: Which.
        python: A Python that has it.
        options: Of its script.

    Raises:
        RuntimeError: If it does not start.
    """

    def __init__(self, peer: Peer, python: str, options: Sequence[str] = ()) -> None:
        self._name = peer.name
        self._process = subprocess.Popen(
            [python, str(SCRIPTS / peer.script), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def run(self) -> float:
        """Steps a second of a turn."""
        assert self._process.stdin is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        return self._answer()["steps_per_s"]

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            command = " ".join(map(str, self._process.args))  # type: ignore[arg-type]
            raise RuntimeError(f"{self._name} does not run; see what `{command}` says")
        return json.loads(line)


def measure(peer: Peer, python: str, turns: int) -> PeerFigures:
    """Takes turns: the peer in each of its modes, and ours.

    Raises:
        RuntimeError: If the peer does not run.
    """
    with ExitStack() as stack:
        processes = {}
        for mode, options in peer.modes.items():
            processes[mode] = PeerProcess(peer, python, options)
            stack.callback(processes[mode].close)
        ours = {name: CollectorSide(OURS[name]) for name in peer.goals}
        for side in ours.values():
            stack.callback(side.close)
            side.run()
        peer_speeds = {mode: np.zeros(turns) for mode in processes}
        our_speeds = {name: np.zeros(turns) for name in ours}
        for turn in range(turns):
            for mode, process in processes.items():
                peer_speeds[mode][turn] = process.run()
            for name, side in ours.items():
                our_speeds[name][turn] = OURS[name].num_slots * OURS[name].steps_in_turn / side.run()
        best = max(peer_speeds, key=lambda mode: float(np.median(peer_speeds[mode])))
        return PeerFigures(processes[best].versions, best, peer_speeds[best], our_speeds)
