"""ServingMetrics: figures of a replica as metrics of Ray, for its dashboard and Prometheus."""

from __future__ import annotations

from collections import Counter as Counts
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

_MS = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0]
_ROWS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]
# A metric of Ray takes some ten microseconds, which is as long as a request. A sample of the latencies is enough.
_MAX_SAMPLES = 200


class ServingMetrics:
    """Gathers figures, and passes them on when :meth:`flush` is called.

    ``distpolicy_serve_requests`` and ``distpolicy_serve_rows`` count everything. The histograms
    ``distpolicy_serve_latency_ms`` (a request, without the network), ``distpolicy_serve_batch_ms`` and
    ``distpolicy_serve_batch_rows`` have at most 200 values of each flush.

    Args:
        policy: Name of what is served; a tag of every metric.
        replica: Name of the replica; a tag, too.
    """

    def __init__(self, policy: str, replica: str) -> None:
        tags = {"policy": policy, "replica": replica}

        def made(kind: Any, name: str, description: str, more: tuple[str, ...] = (), **options: Any) -> Any:
            metric = kind(f"distpolicy_serve_{name}", description=description, tag_keys=(*tags, *more), **options)
            metric.set_default_tags(tags)
            return metric

        self._requests = made(Counter, "requests", "Requests answered", ("protocol", "status"))
        self._rows = made(Counter, "rows", "Rows of batches computed")
        self._latency = made(Histogram, "latency_ms", "Time of a request in the server", ("protocol",), boundaries=_MS)
        self._batch_ms = made(Histogram, "batch_ms", "Time of a batch", boundaries=_MS)
        self._batch_rows = made(Histogram, "batch_rows", "Rows of a batch", boundaries=_ROWS)
        self._sessions = made(Gauge, "sessions", "Sessions that are kept")
        self._counts: Counts[tuple[str, int]] = Counts()
        self._latencies_s: list[tuple[str, float]] = []
        self._batches: list[tuple[int, float]] = []
        self._num_rows = 0

    def on_request(self, protocol: str, status: int, seconds: float) -> None:
        """Notes a request."""
        self._counts[protocol, status] += 1
        if len(self._latencies_s) < _MAX_SAMPLES:
            self._latencies_s.append((protocol, seconds))

    def on_batch(self, num_rows: int, seconds: float) -> None:
        """Notes a batch."""
        self._num_rows += num_rows
        if len(self._batches) < _MAX_SAMPLES:
            self._batches.append((num_rows, seconds))

    def flush(self, num_sessions: int) -> None:
        """Passes the figures since the last call to Ray.

        Args:
            num_sessions: Number of sessions that are kept.
        """
        counts, self._counts = self._counts, Counts()
        latencies_s, self._latencies_s = self._latencies_s, []
        batches, self._batches = self._batches, []
        num_rows, self._num_rows = self._num_rows, 0
        for (protocol, status), count in counts.items():
            self._requests.inc(count, {"protocol": protocol, "status": str(status)})
        if num_rows:
            self._rows.inc(num_rows)
        for protocol, seconds in latencies_s:
            self._latency.observe(seconds * 1e3, {"protocol": protocol})
        for rows, seconds in batches:
            self._batch_rows.observe(rows)
            self._batch_ms.observe(seconds * 1e3)
        self._sessions.set(num_sessions)
