"""Which arguments a layer takes."""

from __future__ import annotations

import inspect
from typing import Any


def takes_training(layer: Any) -> bool:
    """Whether the layer's ``call`` has an argument ``training``."""
    return "training" in inspect.signature(layer.call).parameters
