"""The progress and the summary of a collect job as text."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from launch.collection.progress import CollectionProgress
from launch.collection.totals import CollectionTotals
from launch.output.formatting import describe_returns
from launch.output.progress_line import duration
from workers.datasets.manifest import DatasetManifest
from workers.inference.server import ServerStatistics


def describe_progress(progress: CollectionProgress) -> str:
    """Returns the progress of a job in one line."""
    return (
        f"{progress.unit} {progress.num_done:,}/{progress.num_asked:,} · {progress.steps_per_s:,.0f} steps/s · "
        f"{progress.num_episodes:,} episodes ended · {progress.num_bytes / 2**20:,.1f} MiB written · "
        f"ETA {duration(progress.eta_s)}"
    )


def summary(
    totals: Sequence[CollectionTotals], server: ServerStatistics | None, manifest: DatasetManifest, out: Path
) -> list[str]:
    """Returns the summary of a finished job, in a few lines.

    Args:
        totals: The totals of each collector.
        server: Statistics of the inference server; None if there was none.
        manifest: The dataset's manifest.
        out: The dataset's folder.
    """
    lines = []
    returns = np.array([value for item in totals for value in item.returns])
    if returns.size:
        lengths = np.array([value for item in totals for value in item.lengths])
        line = f"{returns.size:,} episodes: {describe_returns(returns)}; mean length {lengths.mean():.1f}"
        if num_cut := sum(item.num_cut for item in totals):
            line += f"; {num_cut:,} ended at the limit of {lengths.max():,} steps"
        lines.append(line)
    total_s = sum(item.total_s for item in totals)
    env_s, policy_s = (sum(getattr(item, name) for item in totals) for name in ("env_s", "policy_s"))
    if env_s:
        num_env_steps = sum(item.num_env_steps for item in totals)
        # Waiting for the next call and starting are not in it, as they are in the speed of the progress line.
        speed = num_env_steps / total_s * len(totals)
        lines.append(
            f"while collecting: {speed:,.0f} env steps/s, {env_s / total_s:.0%} of what the envs alone would do; "
            f"policy {policy_s / total_s:.0%} of the time"
        )
    if server is not None:
        lines.append(
            f"server: {server.num_batches:,} batches of {server.mean_rows:.1f} rows, a call waited "
            f"{server.mean_wait_s * 1000:.2f} ms for others, the policy took {server.mean_policy_s * 1000:.2f} ms"
        )
    free = shutil.disk_usage(out).free / 2**30
    lines.append(
        f"{manifest.num_rows:,} steps, {manifest.num_episodes:,} episodes, {manifest.num_bytes / 2**20:,.1f} MiB "
        f"in {len(manifest.shards)} files ({free:,.0f} GiB free): {out}"
    )
    return lines
