"""ClusterMetrics: a run's newest figures as gauges of Ray, for the dashboard and Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Gauge

PREFIX = "distpolicy_"


class ClusterMetrics:
    """Sets a gauge for every metric of an update: ``distpolicy_policy_lag``, ``distpolicy_steps_per_s`` and so on.

    Prometheus reads them from the metrics port of the driver's node.

    Args:
        run: Name of the run; a tag of every gauge.
        env: Id of the environment; a tag, too.
    """

    def __init__(self, run: str, env: str) -> None:
        self._tags = {"run": run, "env": env}
        self._gauges: dict[str, Gauge] = {}
        self._values: dict[str, float] = {}

    def set(self, metrics: Mapping[str, Any]) -> None:
        """Sets the gauges. Characters that Prometheus does not take in names become ``_``.

        All gauges are set again, also those of metrics that are not given, such as those of an evaluation: Ray shows
        only what was set lately.
        """
        self._values |= {name: float(value) for name, value in metrics.items()}
        for name, value in self._values.items():
            if name not in self._gauges:
                gauge = Gauge(
                    PREFIX + re.sub(r"\W", "_", name, flags=re.ASCII),
                    description=f"distpolicy: {name} of the newest update",
                    tag_keys=tuple(self._tags),
                )
                gauge.set_default_tags(self._tags)
                self._gauges[name] = gauge
            self._gauges[name].set(value)
