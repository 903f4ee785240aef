"""Faults, injected into runs of ``distpolicy train``: what holds, what is lost, and how long it takes.

Every row starts the command as a user does, on a Ray of its own, on small policies and environments whose steps take
5 ms where a run has to last. A row survives if all that its last column tells was found to be so: a run that goes on
has to end well, with every update in metrics.csv once and in order, none of more env steps than a batch, none of a
policy lag above the run's (0, or 2 with ``--async``); one that cannot go on has to say so in one line. Env steps that
are lost and seconds to recover are those of the run's own faults.csv, or from its metrics and the clock where the
driver itself is gone.

Needs the packages of the tests. Rows that mount file systems or join hosts by a network need root, and say so.

    python benchmarks/faults.py
    python benchmarks/faults.py --rows learner driver --seconds 20
    python benchmarks/faults.py --async
    python benchmarks/faults.py --async --rollout-order arrival
"""

from __future__ import annotations

import argparse
import tempfile
import time
import traceback
from pathlib import Path

from faults_run import Result, Row, Settings, Skipped, watched
from reporting import print_header, print_table

# isort: split
# Found by what faults_run does to the path, as is what they import.
import faults_driver
import faults_nodes
import faults_storage
import faults_workers
import training_runs

ROWS: dict[str, tuple[str, Row]] = {
    "collectors": ("kill -9 of a collector every 5 s", faults_workers.collectors_killed_again_and_again),
    "all-collectors": ("kill -9 of all collectors at once", faults_workers.all_collectors_killed_at_once),
    "learner": ("kill -9 of the learner in mid-update", faults_workers.learner_killed_in_an_update),
    "raylet": ("kill -9 of a node's raylet", faults_nodes.raylet_killed),
    "node": ("a node loses power, and comes back", faults_nodes.node_off),
    "cut": ("network cut between hosts, and mended", faults_nodes.network_cut),
    "netem": ("network delayed by 200 ms, losing 5 %", faults_nodes.network_slow),
    "driver": ("kill -9 of the driver", faults_driver.driver_killed),
    "driver-cluster": ("kill -9 of the driver, on a cluster", faults_driver.driver_killed_on_a_cluster),
    "save": ("kill -9 while a checkpoint is written", faults_storage.killed_while_a_checkpoint_is_written),
    "truncated": ("a truncated checkpoint", faults_storage.checkpoint_truncated),
    "bit": ("a flipped bit in a checkpoint", faults_storage.checkpoint_bit_flipped),
    "store": ("object store full", faults_storage.object_store_full),
    "disk": ("disk full", faults_storage.disk_full),
    "raises": ("env raises once", faults_workers.env_raises_once),
    "raises-always": ("env raises always", faults_workers.env_raises_always),
    "hangs": ("env hangs, sync", faults_workers.env_hangs_sync),
    "hangs-async": ("env hangs, async", faults_workers.env_hangs_async),
    "exits": ("env kills its process, always", faults_workers.env_kills_its_process),
    "ctrl-c": ("Ctrl-C", faults_driver.ctrl_c),
    "sigterm": ("SIGTERM", faults_driver.sigterm),
}


def run_row(row: Row, settings: Settings) -> list[str]:
    """A row's cells after its name."""
    # Short: the names of Ray's sockets are limited.
    with tempfile.TemporaryDirectory(prefix="dpf", dir="/tmp") as folder, watched(settings.row_timeout_s):
        try:
            found: Result = row(settings, Path(folder))
        except Skipped as reason:
            return ["skipped", "", "", str(reason)]
        except Exception as error:  # Whatever is wrong with a row, the next ones are run.
            traceback.print_exc()
            return ["NO", "", "", " ".join(str(error).split())[:200]]
    lost = "-" if found.env_steps_lost is None else f"{found.env_steps_lost:,}"
    return ["yes", lost, found.recovery, found.checked]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="rows to run", metavar="ROW")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long collectors are killed every 5 s")
    parser.add_argument("--row-timeout-s", type=float, default=900.0, help="seconds after which a row has failed")
    parser.add_argument("--async", action="store_true", dest="lags", help="let the runs have a policy lag of up to 2")
    parser.add_argument("--rollout-order", choices=("fixed", "arrival"), default="fixed", help="with --async")
    arguments = parser.parse_args()
    if arguments.rollout_order == "arrival" and not arguments.lags:
        parser.error("--rollout-order arrival needs --async")
    if arguments.lags:
        training_runs.largest_lag = 2
        training_runs.MORE_OPTIONS += ["--max-policy-lag", "2", "--rollout-order", arguments.rollout_order]
    settings = Settings(arguments.seconds, arguments.row_timeout_s)
    kind = f"with a policy lag of up to 2, {arguments.rollout_order} order" if arguments.lags else "in lock step"
    print_header(f"faults, {kind}: what holds when something dies", ["ray", "tensorflow"])
    cells = []
    for name in arguments.rows:
        fault, row = ROWS[name]
        begin = time.monotonic()
        cells.append([fault, *run_row(row, settings)])
        print(f"{name}: {cells[-1][1]}, in {time.monotonic() - begin:.0f} s", flush=True)
    print_table(["fault", "survived", "env steps lost", "recovery", "checked"], cells)
    failed = [row[0] for row in cells if row[1] == "NO"]
    print(f"goal: every fault is survived: {'MISSED: ' + ', '.join(failed) if failed else 'met'}")


if __name__ == "__main__":
    main()
