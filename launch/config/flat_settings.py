"""flat: a run's settings on one level, under the names of their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings by name: ``collectors``, ``network.actor_units``, ``ppo.learning_rate``.

    Args:
        config: The settings as ``config.yaml`` has them. ``agent`` becomes the agent's name.
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key == "agent" and isinstance(value, dict):
            kind = str(value.get("kind", "?"))
            found[key] = value.get("factory") or kind
            found |= {f"{kind}.{name}": item for name, item in value.items() if name != "kind"}
        elif key in ("network", "atari") and isinstance(value, dict):
            found |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            found[key] = value
    return found
