"""export_metrics: logs the values of metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

_logger = logging.getLogger(__name__)


def export_metrics(step: Any, metrics: Iterable[Any], loss_info: Any = None) -> None:
    """Logs the values of metrics, and a loss, by the standard library's logging.

    Args:
        step: The step that they belong to.
        metrics: The metrics.
        loss_info: A LossInfo, or None.
    """
    values = [(metric.name, metric.result()) for metric in metrics]
    if loss_info is not None:
        values.append(("loss", loss_info.loss))
    for name, value in values:
        _logger.info("[step=%s] %s = %s.", step, name, value)
