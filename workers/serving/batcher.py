"""Batcher: computes the requests that have come together as one batch.

Nothing waits for a batch to fill up. While one batch is computed the next one gathers, so that batches are as large as
the load makes them, and a single client does not wait at all.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from distpolicy.serving.messages import Kind, ServingError
from distpolicy.utils.error_text import one_line

# Computes a batch: from the leaves of the inputs [rows, ...] and seeds [rows, 2] to the leaves of the outputs.
Compute = Callable[[Sequence[np.ndarray], np.ndarray], Sequence[np.ndarray]]

_SMALLEST = 8
# A batch that takes longer is computed in a thread, so that the server goes on reading requests.
_INLINE_S = 0.001
_TIMED_CALLS = 3


def batch_sizes(max_rows: int) -> list[int]:
    """Returns the sizes of the batches that are computed: 8, 16 and so on, up to the first that has room for all.

    Args:
        max_rows: The most rows of a batch.
    """
    sizes = [_SMALLEST]
    while sizes[-1] < max_rows:
        sizes.append(2 * sizes[-1])
    return sizes


class _Item:
    """A request that waits for its batch."""

    __slots__ = ("future", "leaves", "num", "seeds")

    def __init__(self, num: int, leaves: Sequence[Any], seeds: np.ndarray | None, future: Any) -> None:
        self.num, self.leaves, self.seeds, self.future = num, leaves, seeds, future


class Batcher:
    """Computes batches in the event loop in which it is used, or in one thread beside it if they take long.

    Args:
        compute: Computes a batch of one of the :func:`batch_sizes`.
        inputs: For each leaf of the inputs, its shape without rows and its dtype.
        max_rows: The most rows of a batch.
        max_waiting: The most rows that may wait; further requests are refused.
        seed: Seed of the draws of requests without a seed.
        on_batch: Is told the number of rows and the seconds of each batch.

    Attributes:
        is_inline: Whether batches are computed in the event loop itself.
    """

    def __init__(
        self,
        compute: Compute,
        inputs: Sequence[tuple[tuple[int, ...], Any]],
        max_rows: int,
        max_waiting: int,
        seed: int | None = None,
        on_batch: Callable[[int, float], None] = lambda num_rows, seconds: None,
    ) -> None:
        self._compute, self._max_rows, self._max_waiting = compute, max_rows, max_waiting
        self._buffers = {
            size: [np.zeros((size, *shape), dtype) for shape, dtype in inputs] for size in batch_sizes(max_rows)
        }
        self._random = np.random.default_rng(seed)
        self._on_batch = on_batch
        self._waiting: collections.deque[_Item] = collections.deque()
        self._num_waiting = 0
        self._is_busy = self._is_scheduled = False
        self._executor = ThreadPoolExecutor(1, "policy")
        self._between: list[Callable[[], None]] = []
        self.is_inline = True

    def warm_up(self) -> None:
        """Computes a batch of each size, and decides where batches are computed. Call this before the first request."""
        for size, buffers in self._buffers.items():
            seeds = np.zeros((size, 2), np.int32)
            self._compute(buffers, seeds)
            times = []
            for _ in range(_TIMED_CALLS):
                start = time.perf_counter()
                self._compute(buffers, seeds)
                times.append(time.perf_counter() - start)
        self.is_inline = min(times) < _INLINE_S

    def submit(self, num: int, leaves: Sequence[Any], seed: int | None = None) -> asyncio.Future[Any]:
        """Returns a future of the outputs of a request: the leaves of a batch, and the first and last of its rows.

        Args:
            num: Number of rows.
            leaves: For each leaf of the inputs, an array ``[num, ...]``, or one that is the same in all rows.
            seed: Seed of the draws; None for the next of the batcher's own.

        Raises:
            ServingError: If too many requests wait.
        """
        if self._num_waiting + num > self._max_waiting:
            raise ServingError(f"{self._num_waiting} rows wait already: try again later", Kind.BUSY)
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append(_Item(num, leaves, None if seed is None else _row_seeds(seed, num), future))
        self._num_waiting += num
        if not (self._is_busy or self._is_scheduled):
            self._is_scheduled = True
            loop.call_soon(self._next, loop)
        return future

    def between_batches(self, function: Callable[[], None]) -> None:
        """Calls a function while no batch is computed, in the thread that computes them.

        Call this in the event loop.
        """
        self._between.append(function)
        if not (self._is_busy or self._is_scheduled):
            loop = asyncio.get_running_loop()
            self._is_scheduled = True
            loop.call_soon(self._next, loop)

    def close(self) -> None:
        """Ends the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Computes the batch of the requests that wait, if any do."""
        self._is_scheduled = False
        between, self._between = self._between, []
        items, num_rows = self._take()
        if not items and not between:
            return
        if self.is_inline:
            try:
                result: Any = self._run(between, items, num_rows)
            except Exception as error:  # A policy may raise anything.
                result = error
            self._answer(items, result)
            if self._waiting:
                self._is_scheduled = True
                loop.call_soon(self._next, loop)
            return
        self._is_busy = True
        running = loop.run_in_executor(self._executor, self._run, between, items, num_rows)

        def done(future: asyncio.Future[Any]) -> None:
            self._is_busy = False
            error = future.exception()
            self._answer(items, future.result() if error is None else error)
            self._next(loop)

        running.add_done_callback(done)

    def _take(self) -> tuple[list[_Item], int]:
        items: list[_Item] = []
        num_rows = 0
        while self._waiting and num_rows + self._waiting[0].num <= self._max_rows:
            item = self._waiting.popleft()
            self._num_waiting -= item.num
            # The client may have gone.
            if not item.future.done():
                items.append(item)
                num_rows += item.num
        return items, num_rows

    def _filled(self, items: list[_Item], num_rows: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Copies the items' rows into the arrays of a batch."""
        size = next(size for size in self._buffers if size >= num_rows)
        buffers = self._buffers[size]
        seeds = self._random.integers(np.iinfo(np.int32).max, size=(size, 2), dtype=np.int32)
        start = 0
        for item in items:
            rows = slice(start, start + item.num)
            for buffer, leaf in zip(buffers, item.leaves, strict=True):
                buffer[rows] = leaf
            if item.seeds is not None:
                seeds[rows] = item.seeds
            start += item.num
        return buffers, seeds

    def _run(self, between: list[Callable[[], None]], items: list[_Item], num_rows: int) -> Sequence[np.ndarray]:
        for function in between:
            function()
        if not num_rows:
            return ()
        start = time.perf_counter()
        buffers, seeds = self._filled(items, num_rows)
        outputs = self._compute(buffers, seeds)
        # What a policy returns unchanged lies in the arrays of the next batch.
        outputs = [
            np.array(leaf) if any(leaf is each or leaf.base is each for each in buffers) else leaf for leaf in outputs
        ]
        self._on_batch(num_rows, time.perf_counter() - start)
        return outputs

    def _answer(self, items: list[_Item], result: Any) -> None:
        start = 0
        for item in items:
            stop = start + item.num
            if not item.future.done():
                if isinstance(result, Exception):
                    told = ServingError(f"the policy failed: {type(result).__name__}: {one_line(result)}", Kind.FAILED)
                    item.future.set_exception(told)
                else:
                    item.future.set_result((result, start, stop))
            start = stop


def _row_seeds(seed: int, num: int) -> np.ndarray:
    """Returns a seed for each row, int32 ``[num, 2]``."""
    return np.random.default_rng(seed).integers(np.iinfo(np.int32).max, size=(num, 2), dtype=np.int32)
