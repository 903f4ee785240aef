"""The doctor command: checks every node of a cluster and prints one line for each finding."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from distpolicy.errors import DistPolicyError
from launch.cluster.finding import Finding
from launch.config.cluster import DoctorConfig
from launch.signals import handled, interrupt


def examine(config: DoctorConfig, console: Console, debug: bool = False) -> bool:
    """Checks every node of a cluster, or this machine, and prints the findings.

    Args:
        config: The settings of the command.
        console: Console to print to.
        debug: Whether to show Ray's output.

    Returns:
        Whether no check has failed.
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
        from launch.cluster import (
            doctor_checks,
            session,  # That Ray can be imported is itself a finding.
        )
    except ImportError as error:
        yield Finding("FAIL", "this machine", f"import ray: {error}")
        return
    try:
        # Ray, which is there by now, has set its own handler of SIGTERM.
        with session.connected(config.address, debug=debug), handled(interrupt):
            yield from doctor_checks.check_cluster(config)
    except DistPolicyError as error:
        yield Finding("FAIL", "Ray", str(error))
