"""Inspection of a layer's arguments."""

from __future__ import annotations

import inspect
from typing import Any


def takes_training(layer: Any) -> bool:
    """Returns True if the layer's ``call`` has an argument ``training``."""
    return "training" in inspect.signature(layer.call).parameters
