"""What a collect job shows of its figures."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from launch.collection.resume import StartingPoint
from launch.collection.totals import CollectionTotals
from launch.output.formatting import describe_returns
from launch.output.progress_line import duration
from workers.datasets.manifest import DatasetManifest
from workers.inference.server import ServerStatistics


def progress(tallies: Sequence[CollectionTotals], before: StartingPoint, num_bytes: int, seconds: float) -> str:
    """How far a job is, in one line.

    Args:
        tallies: Of each collector.
        before: Where the job began.
        num_bytes: Size of the dataset's shards.
        seconds: Since the first rollout was asked for.
    """
    num_rows = sum(tally.num_rows for tally in tallies)
    num_episodes = sum(len(tally.returns) for tally in tallies)
    limits = before.limits
    if limits.next_steps is not None:
        total = sum(limits.next_steps[slot] - step for slot, step in enumerate(before.next_steps))
        done, unit = num_rows, "steps"
    else:
        assert limits.num_episodes is not None
        done, total, unit = num_episodes, sum(limits.num_episodes.values()), "episodes"
    eta_s = (total - done) * seconds / done if done else math.inf
    return (
        f"{unit} {done:,}/{total:,} · {num_rows / max(seconds, 1e-9):,.0f} steps/s · "
        f"{num_episodes:,} episodes ended · {num_bytes / 2**20:,.1f} MiB written · ETA {duration(eta_s)}"
    )


def summary(
    tallies: Sequence[CollectionTotals], server: ServerStatistics | None, manifest: DatasetManifest, out: Path
) -> list[str]:
    """What a job came to.

    Args:
        tallies: Of each collector.
        server: What the inference server did, if there was one.
        manifest: What the dataset holds.
        out: Its folder.
    """
    lines = []
    returns = np.array([value for tally in tallies for value in tally.returns])
    if returns.size:
        lengths = np.array([value for tally in tallies for value in tally.lengths])
        lines.append(f"{returns.size:,} episodes: {describe_returns(returns)}; mean length {lengths.mean():.1f}")
    total_s = sum(tally.total_s for tally in tallies)
    env_s, policy_s = (sum(getattr(tally, name) for tally in tallies) for name in ("env_s", "policy_s"))
    if env_s:
        num_env_steps = sum(tally.num_env_steps for tally in tallies)
        lines.append(
            f"{num_env_steps / total_s * len(tallies):,.0f} env steps/s, {env_s / total_s:.0%} of what the envs alone "
            f"would do; policy {policy_s / total_s:.0%} of the time"
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
