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
from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.serving.messages import Kind, ServingError

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


@dataclass(frozen=True, slots=True)
class _Computed:
    """Requests that were computed together.

    Attributes:
        items: The requests.
        result: The leaves of the outputs, or why there are none.
        seconds: Seconds that it took.
    """

    items: list[_Item]
    result: Sequence[np.ndarray] | BaseException
    seconds: float = 0.0


class Batcher:
    """Computes batches in the event loop in which it is used, or in one thread beside it if they take long.

    Args:
        compute: Computes a batch of one of the :func:`batch_sizes`.
        inputs: For each leaf of the inputs, its shape without rows and its dtype.
        max_rows: The most rows of a batch.
        max_waiting: The most rows that may wait; further requests are refused.
        seed: Seed of the draws of requests without a seed.
        on_batch: Is told the number of rows and the seconds of each batch, in the event loop.

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
        # For each size, the first rows of its arrays that may be other than zero.
        self._num_filled = dict.fromkeys(self._buffers, 0)
        self._random = np.random.default_rng(seed)
        self._on_batch = on_batch
        self._waiting: collections.deque[_Item] = collections.deque()
        self._num_waiting = 0
        self._is_busy = self._is_scheduled = False
        self._busy_since_s = 0.0
        self._executor = ThreadPoolExecutor(1, "policy")
        self._between: list[Callable[[], None]] = []
        self.is_inline = True

    @property
    def busy_s(self) -> float:
        """Seconds since the thread began what it computes now; 0 if it computes nothing."""
        return time.monotonic() - self._busy_since_s if self._is_busy else 0.0

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
        items = self._take()
        if not items and not between:
            return
        if self.is_inline:
            try:
                batches = self._run(between, items)
            except Exception as error:  # A change of the policy has failed.
                batches = [_Computed(items, error)]
            self._answer(batches)
            if self._waiting:
                self._is_scheduled = True
                loop.call_soon(self._next, loop)
            return
        self._is_busy, self._busy_since_s = True, time.monotonic()
        running = loop.run_in_executor(self._executor, self._run, between, items)

        def done(future: asyncio.Future[list[_Computed]]) -> None:
            self._is_busy = False
            error = future.exception()
            self._answer(future.result() if error is None else [_Computed(items, error)])
            self._next(loop)

        running.add_done_callback(done)

    def _take(self) -> list[_Item]:
        items: list[_Item] = []
        num_rows = 0
        while self._waiting and num_rows + self._waiting[0].num <= self._max_rows:
            item = self._waiting.popleft()
            self._num_waiting -= item.num
            # The client may have gone.
            if not item.future.done():
                items.append(item)
                num_rows += item.num
        return items

    def _filled(self, items: list[_Item], num_rows: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Copies the items' rows into the arrays of a batch."""
        size = next(size for size in self._buffers if size >= num_rows)
        buffers = self._buffers[size]
        if num_rows < self._num_filled[size]:
            # The policy may fail at a row of an earlier batch.
            for buffer in buffers:
                buffer[num_rows : self._num_filled[size]] = 0
        self._num_filled[size] = num_rows
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

    def _run(self, between: list[Callable[[], None]], items: list[_Item]) -> list[_Computed]:
        """Calls the functions, and computes the requests: together, or each alone if the policy fails at the batch."""
        for function in between:
            function()
        try:
            return [self._computed(items)] if items else []
        except Exception as error:  # A policy may raise anything.
            if len(items) == 1:
                return [_Computed(items, error)]
        # The cause may be one request. The others get their answers.
        return [computed for item in items for computed in self._run([], [item])]

    def _computed(self, items: list[_Item]) -> _Computed:
        start = time.perf_counter()
        buffers, seeds = self._filled(items, sum(item.num for item in items))
        outputs = self._compute(buffers, seeds)
        # What a policy returns unchanged lies in the arrays of the next batch.
        outputs = [
            np.array(leaf) if any(np.may_share_memory(leaf, each) for each in buffers) else leaf for leaf in outputs
        ]
        return _Computed(items, outputs, time.perf_counter() - start)

    def _answer(self, batches: list[_Computed]) -> None:
        for batch in batches:
            start = 0
            for item in batch.items:
                stop = start + item.num
                if item.future.done():
                    pass
                elif isinstance(batch.result, BaseException):
                    told = ServingError(
                        f"the policy failed: {type(batch.result).__name__}; the server's log has the rest", Kind.FAILED
                    )
                    told.__cause__ = batch.result
                    item.future.set_exception(told)
                else:
                    item.future.set_result((batch.result, start, stop))
                start = stop
            if not isinstance(batch.result, BaseException):
                self._on_batch(start, batch.seconds)


def _row_seeds(seed: int, num: int) -> np.ndarray:
    """Returns a seed for each row, int32 ``[num, 2]``."""
    return np.random.default_rng(seed).integers(np.iinfo(np.int32).max, size=(num, 2), dtype=np.int32)
