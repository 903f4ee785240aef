"""The doctor command: is every node of a cluster fit for a run? A line a finding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from rich.console import Console

from distpolicy.errors import DistPolicyError
from launch.doctor_config import DoctorConfig


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        verdict: Whether it is well; only FAIL makes the cluster unfit.
        subject: What was looked at.
        text: What was found.
    """

    verdict: Literal["ok", "warn", "FAIL"]
    subject: str
    text: str


def examine(config: DoctorConfig, console: Console, debug: bool = False) -> bool:
    """Checks every node of a cluster, or of a Ray that is started on this machine.

    Args:
        config: What to check.
        console: Where to print.
        debug: Whether Ray's output is shown.

    Returns:
        Whether nothing has failed.
    """
    counts = {"ok": 0, "warn": 0, "FAIL": 0}
    for finding in _findings(config, debug):
        counts[finding.verdict] += 1
        line = f"{finding.verdict:<4}  {finding.subject}: {finding.text}"
        console.print(line)
    fit = not counts["FAIL"]
    summary = "all is well" if fit else "not fit for a run"
    console.print(f"{summary}: {counts['ok']} ok, {counts['warn']} warnings, {counts['FAIL']} failed")
    return fit


def _findings(config: DoctorConfig, debug: bool) -> Iterator[Finding]:
    try:
        from launch import cluster, cluster_checks  # That Ray can be imported is itself a finding.
    except ImportError as error:
        yield Finding("FAIL", "this machine", f"import ray: {error}")
        return
    try:
        with cluster.connected(config.address, debug=debug):
            yield from cluster_checks.check_cluster(config)
    except DistPolicyError as error:
        yield Finding("FAIL", "Ray", str(error))
