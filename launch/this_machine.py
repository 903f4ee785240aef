"""This machine as a node: what a Ray that is started here would have."""

from __future__ import annotations

import os
from pathlib import Path

from launch.placement import Node


def this_machine() -> Node:
    """What a Ray that is started here would have."""
    resources = {"CPU": float(os.cpu_count() or 1)}
    if gpus := _num_gpus_here():
        resources["GPU"] = gpus
    return Node("this machine", resources, resources)


def _num_gpus_here() -> float:
    """NVIDIA GPUs whose devices are here and visible."""
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return float(devices)
    # As CUDA reads it: what follows an invalid entry is not visible.
    chosen = visible.split(",")
    valid = next((index for index, entry in enumerate(chosen) if entry in ("", "-1")), len(chosen))
    return float(min(devices, valid))
