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
VECTOR, SYNC = "vector_entry_point", "sync"
# Ours, in each form of the environment.
OURS = {
    VECTOR: Case("CartPole-v1", "vector_entry_point", 64, 80, "env", None),
    SYNC: Case("CartPole-v1", "sync", 64, 24, "env", None),
}


class Mode(NamedTuple):
    """A peer's way to step environments in one process.

    Attributes:
        options: Of its script.
        form: Ours with the same form of the environment, a key of :data:`OURS`.
        goal: How many times as fast ours has to be in that form; None if it is only reported.
    """

    options: tuple[str, ...]
    form: str
    goal: float | None


class Peer(NamedTuple):
    """A library that we compare with.

    Attributes:
        name: Its name.
        script: In ``peers``.
        option: Of the command: a Python that has it.
        goal: How many times as fast our quickest form has to be as its quickest mode.
        modes: Its ways to step environments, by their names.
    """

    name: str
    script: str
    option: str
    goal: float
    modes: dict[str, Mode]


PEERS = (
    Peer("Stable-Baselines3", "sb3_collect.py", "--sb3-python", 5.0, {"DummyVecEnv": Mode((), SYNC, 2.0)}),
    Peer(
        "RLlib's env runner",
        "rllib_collect.py",
        "--rllib-python",
        20.0,
        {form: Mode(("--vectorization", form), form, None) for form in (VECTOR, SYNC)},
    ),
    Peer("TorchRL's collector", "torchrl_collect.py", "--torchrl-python", 20.0, {"SerialEnv": Mode((), SYNC, None)}),
)


class Pair(NamedTuple):
    """One of a peer's modes beside one form of ours.

    Attributes:
        title: What is compared.
        mode: The peer's mode.
        form: Our form.
        speeds: The peer's steps a second in every turn.
        ours: Our steps a second in the same turns.
        goal: The least median ratio; None if it is only reported.
    """

    title: str
    mode: str
    form: str
    speeds: np.ndarray
    ours: np.ndarray
    goal: float | None

    @property
    def ratio(self) -> float:
        """How many times as fast ours is: the median over the turns."""
        return float(np.median(self.ours / self.speeds))


class PeerFigures(NamedTuple):
    """What a peer came to.

    Attributes:
        versions: Of its packages.
        pairs: Its quickest mode beside our quickest form, then each of its modes beside ours in the same form.
    """

    versions: dict[str, str]
    pairs: list[Pair]


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
    """Takes turns: the peer in each of its modes, and ours in each form.

    Raises:
        RuntimeError: If the peer does not run.
    """
    with ExitStack() as stack:
        processes = {}
        for name, mode in peer.modes.items():
            processes[name] = PeerProcess(peer, python, mode.options)
            stack.callback(processes[name].close)
        sides = {form: CollectorSide(case) for form, case in OURS.items()}
        for side in sides.values():
            stack.callback(side.close)
            side.run()
        speeds = {name: np.zeros(turns) for name in processes}
        ours = {form: np.zeros(turns) for form in sides}
        for turn in range(turns):
            for name, process in processes.items():
                speeds[name][turn] = process.run()
            for form, side in sides.items():
                ours[form][turn] = OURS[form].num_slots * OURS[form].steps_in_turn / side.run()
        versions = next(iter(processes.values())).versions
    quickest, best = _quickest(speeds), _quickest(ours)
    is_same = peer.modes[quickest].form == best
    title = f"best form of each{', the same' if is_same else ''}"
    pairs = [Pair(title, quickest, best, speeds[quickest], ours[best], peer.goal)]
    pairs += [
        Pair("same form", name, mode.form, speeds[name], ours[mode.form], mode.goal)
        for name, mode in peer.modes.items()
        if not (is_same and name == quickest)
    ]
    return PeerFigures(versions, pairs)


def _quickest(speeds: dict[str, np.ndarray]) -> str:
    return max(speeds, key=lambda name: float(np.median(speeds[name])))
