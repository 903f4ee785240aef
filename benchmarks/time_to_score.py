"""Seconds from the first env step to a 100-episode mean of 475 on CartPole-v1, beside Stable-Baselines3.

Ours is ``distpolicy train`` with its default preset. Its compiling begins with the command; what is left of it at the
first env step is in its seconds, and is also told apart; ``cold`` and ``warm`` are without and with the compile cache.
The seconds of the whole command stand beside them (see ``score_race.py``).

The peer is Stable-Baselines3's PPO with RL-Zoo's settings for this environment (``peers/sb3_cartpole.py``), once with
PyTorch's own choice of threads and once with one thread; the one with the lower median is what ours is compared with.
All means are of the last 100 training episodes.

All take turns, seed by seed; each ratio is of one seed. The goal is a median ratio of at least 5, and every seed
solved.

The peer needs no place in our environment; with one of its own (``pip install stable-baselines3``):

    python benchmarks/time_to_score.py --peer-python PATH/TO/ITS/python
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

from reporting import print_header
from score_race import race
from score_runs import Peer

GOAL = 5.0
FORMS: dict[str, list[str]] = {"SB3": [], "SB3, 1 thread": ["--threads", "1"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    here = sys.executable if importlib.util.find_spec("stable_baselines3") else None
    parser.add_argument(
        "--peer-python", default=here, help="a Python that has stable-baselines3; this one, if it has it"
    )
    arguments = parser.parse_args()
    print_header("CartPole-v1: first env step to a 100-episode mean of 475", ["ray", "tensorflow", "gymnasium"])
    peer = Peer("sb3_cartpole.py", arguments.peer_python, FORMS) if arguments.peer_python else None
    if peer is None:
        print("SKIPPED: Stable-Baselines3, which this Python does not have; give one that has it by --peer-python")
    race(arguments.seeds, [], peer, GOAL)


if __name__ == "__main__":
    main()
