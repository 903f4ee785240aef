"""Peers' collecting beside ours: each in a process of its own, which waits while another has its turn."""

from __future__ import annotations

import json
import subprocess
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
    """

    name: str
    script: str
    option: str
    goals: dict[str, float]


PEERS = (
    Peer("Stable-Baselines3", "sb3_collect.py", "--sb3-python", {"best vector mode": 5.0, "sync": 2.0}),
    Peer("RLlib's env runner", "rllib_collect.py", "--rllib-python", {"best vector mode": 20.0}),
    Peer("TorchRL's collector", "torchrl_collect.py", "--torchrl-python", {"best vector mode": 20.0}),
)


class PeerProcess:
    """A peer that takes a turn when it is told to.

    Args:
        peer: Which.
        python: A Python that has it.

    Raises:
        RuntimeError: If it does not start.
    """

    def __init__(self, peer: Peer, python: str) -> None:
        self._name = peer.name
        self._process = subprocess.Popen(
            [python, str(SCRIPTS / peer.script)],
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


def measure(peer: Peer, python: str, turns: int) -> tuple[dict[str, str], np.ndarray, dict[str, np.ndarray]]:
    """The peer's versions, its steps a second in every turn, and those of each of ours that has a goal."""
    process = PeerProcess(peer, python)
    ours = {name: CollectorSide(OURS[name]) for name in peer.goals}
    try:
        peer_speeds, speeds = np.zeros(turns), {name: np.zeros(turns) for name in ours}
        for side in ours.values():
            side.run()
        for turn in range(turns):
            peer_speeds[turn] = process.run()
            for name, side in ours.items():
                case = OURS[name]
                speeds[name][turn] = case.num_slots * case.steps_in_turn / side.run()
    finally:
        process.close()
        for side in ours.values():
            side.close()
    return process.versions, peer_speeds, speeds
