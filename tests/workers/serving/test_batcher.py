"""Requests that come together are one batch, and each gets its own rows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from distpolicy.serving.messages import Kind, ServingError
from workers.serving.batcher import Batcher, batch_sizes

INPUTS = [((2,), np.float32), ((), np.int32)]


class Doubling:
    """Returns twice the first leaf, and the seeds. Notes the batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate: threading.Event | None = None

    def __call__(self, leaves: Sequence[np.ndarray], seeds: np.ndarray) -> list[np.ndarray]:
        self.sizes.append(len(leaves[0]))
        if self.gate is not None:
            assert self.gate.wait(10)
        return [2 * leaves[0], seeds.copy(), leaves[1]]


def rows(value: float, num: int = 1) -> list[Any]:
    return [np.full((num, 2), value, np.float32), 7]


def result(answer: Any, leaf: int = 0) -> np.ndarray:
    outputs, start, stop = answer
    return outputs[leaf][start:stop]


def test_sizes_double_until_all_rows_have_room() -> None:
    assert batch_sizes(1) == [8]
    assert batch_sizes(64) == [8, 16, 32, 64]
    assert batch_sizes(65) == [8, 16, 32, 64, 128]


def test_requests_of_one_turn_are_one_batch_and_get_their_own_rows() -> None:
    compute, batches = Doubling(), []
    batcher = Batcher(compute, INPUTS, 64, 1000, on_batch=lambda num, seconds: batches.append(num))

    async def run() -> list[Any]:
        return await asyncio.gather(*(batcher.submit(num, rows(value, num)) for value, num in [(1, 1), (2, 3), (3, 5)]))

    found = asyncio.run(run())
    for answer, value, num in zip(found, (1, 2, 3), (1, 3, 5), strict=True):
        np.testing.assert_array_equal(result(answer), np.full((num, 2), 2 * value))
    assert (batches, compute.sizes) == ([9], [16])


def test_batches_have_at_most_the_rows_that_are_allowed() -> None:
    batches: list[int] = []
    batcher = Batcher(Doubling(), INPUTS, 8, 1000, on_batch=lambda num, seconds: batches.append(num))

    async def run() -> list[Any]:
        return await asyncio.gather(*(batcher.submit(3, rows(value, 3)) for value in range(5)))

    for value, answer in enumerate(asyncio.run(run())):
        np.testing.assert_array_equal(result(answer), np.full((3, 2), 2 * value))
    assert batches == [6, 6, 3]


def test_while_a_slow_batch_is_computed_the_next_one_gathers() -> None:
    compute = Doubling()
    batcher = Batcher(compute, INPUTS, 64, 1000)
    batcher.is_inline = False
    compute.gate = threading.Event()

    async def run() -> list[Any]:
        first = batcher.submit(1, rows(1))
        await asyncio.sleep(0.05)
        others = []
        for value in (2, 3, 4):  # They come one after the other.
            others.append(batcher.submit(1, rows(value)))
            await asyncio.sleep(0.01)
        assert compute.gate is not None
        compute.gate.set()
        return await asyncio.gather(first, *others)

    for value, answer in enumerate(asyncio.run(run()), 1):
        np.testing.assert_array_equal(result(answer), np.full((1, 2), 2 * value))
    assert len(compute.sizes) == 2
    batcher.close()


def test_an_output_that_is_an_input_is_not_written_over_by_the_next_batch() -> None:
    batcher = Batcher(Doubling(), INPUTS, 8, 1000)

    async def run() -> tuple[Any, Any]:
        first = await batcher.submit(1, [np.zeros((1, 2), np.float32), 5])
        second = await batcher.submit(1, [np.zeros((1, 2), np.float32), 6])
        return first, second

    first, second = asyncio.run(run())
    assert result(first, 2) == [5]
    assert result(second, 2) == [6]


def test_a_given_seed_decides_on_the_draws_whatever_the_batch() -> None:
    batcher = Batcher(Doubling(), INPUTS, 64, 1000, seed=1)

    async def run() -> list[Any]:
        alone = await batcher.submit(2, rows(1, 2), seed=5)
        beside = await asyncio.gather(
            batcher.submit(3, rows(1, 3)), batcher.submit(2, rows(1, 2), seed=5), batcher.submit(2, rows(1, 2))
        )
        return [alone, *beside]

    alone, _, again, other = (result(answer, 1) for answer in asyncio.run(run()))
    np.testing.assert_array_equal(alone, again)
    assert not np.array_equal(alone, other)
    assert not np.array_equal(alone[0], alone[1])


def test_too_many_rows_that_wait_are_refused() -> None:
    batcher = Batcher(Doubling(), INPUTS, 8, max_waiting=10)

    async def run() -> None:
        first = batcher.submit(8, rows(1, 8))
        with pytest.raises(ServingError, match="8 rows wait already") as caught:
            batcher.submit(3, rows(2, 3))
        assert caught.value.kind is Kind.BUSY
        await first
        await batcher.submit(3, rows(2, 3))

    asyncio.run(run())


@pytest.mark.parametrize("is_inline", [True, False])
def test_an_error_of_the_policy_is_each_requests_answer_and_the_next_batch_goes_on(is_inline: bool) -> None:
    fails = [True]

    def compute(leaves: Sequence[np.ndarray], seeds: np.ndarray) -> list[np.ndarray]:
        if fails:
            raise ValueError("out of\nmemory")
        return list(leaves)

    batcher = Batcher(compute, INPUTS, 8, 1000)
    batcher.is_inline = is_inline

    async def run() -> None:
        errors = await asyncio.gather(*(batcher.submit(1, rows(1)) for _ in range(2)), return_exceptions=True)
        assert [str(error) for error in errors] == ["the policy failed: ValueError; the server's log has the rest"] * 2
        assert [str(error.__cause__) for error in errors] == ["out of\nmemory"] * 2
        fails.clear()
        np.testing.assert_array_equal(result(await batcher.submit(1, rows(3))), [[3, 3]])

    asyncio.run(run())
    batcher.close()


@pytest.mark.parametrize("is_inline", [True, False])
def test_changes_are_made_between_batches(is_inline: bool) -> None:
    factor = [1.0]
    batcher = Batcher(lambda leaves, seeds: [factor[0] * leaves[0]], INPUTS, 8, 1000)
    batcher.is_inline = is_inline

    async def run() -> None:
        before = batcher.submit(1, rows(1))
        await before
        batcher.between_batches(lambda: factor.__setitem__(0, 10.0))
        np.testing.assert_array_equal(result(await batcher.submit(1, rows(1))), [[10, 10]])
        batcher.between_batches(lambda: factor.__setitem__(0, 20.0))
        await asyncio.sleep(0.05)
        assert factor == [20.0]  # Without a request, too.

    asyncio.run(run())
    batcher.close()


def test_clients_that_have_gone_take_no_rows() -> None:
    batches: list[int] = []
    batcher = Batcher(Doubling(), INPUTS, 8, 1000, on_batch=lambda num, seconds: batches.append(num))

    async def run() -> None:
        gone = batcher.submit(1, rows(1))
        kept = batcher.submit(1, rows(2))
        gone.cancel()
        np.testing.assert_array_equal(result(await kept), [[4, 4]])

    asyncio.run(run())
    assert batches == [1]


@pytest.mark.parametrize("is_inline", [True, False])
def test_rows_that_do_not_fit_are_an_answer_and_the_next_batch_goes_on(is_inline: bool) -> None:
    batcher = Batcher(Doubling(), INPUTS, 8, 1000)
    batcher.is_inline = is_inline

    async def run() -> None:
        with pytest.raises(ServingError, match="the policy failed: ValueError"):
            await asyncio.wait_for(batcher.submit(1, [np.zeros((1, 5), np.float32), 7]), 5)
        np.testing.assert_array_equal(result(await batcher.submit(1, rows(3))), [[6, 6]])

    asyncio.run(run())
    batcher.close()


class Failing:
    """Fails at a batch with a row of 13. Otherwise it returns twice the first leaf."""

    def __call__(self, leaves: Sequence[np.ndarray], seeds: np.ndarray) -> list[np.ndarray]:
        if (leaves[0] == 13).any():
            raise ValueError("13")
        return [2 * leaves[0]]


@pytest.mark.parametrize("is_inline", [True, False])
def test_a_row_at_which_the_policy_fails_is_the_answer_to_its_own_request_alone(is_inline: bool) -> None:
    batches: list[int] = []
    batcher = Batcher(Failing(), INPUTS, 8, 1000, on_batch=lambda num, seconds: batches.append(num))
    batcher.is_inline = is_inline

    async def run() -> None:
        asked = (batcher.submit(2, rows(value, 2)) for value in (1, 13, 3))
        first, bad, last = await asyncio.gather(*asked, return_exceptions=True)
        np.testing.assert_array_equal(result(first), np.full((2, 2), 2))
        np.testing.assert_array_equal(result(last), np.full((2, 2), 6))
        assert str(bad).startswith("the policy failed: ValueError;")

    asyncio.run(run())
    assert batches == [2, 2]
    batcher.close()


def test_a_row_at_which_the_policy_has_failed_is_not_computed_again() -> None:
    batcher = Batcher(Failing(), INPUTS, 8, 1000)

    async def run() -> None:
        with pytest.raises(ServingError, match="the policy failed"):
            await batcher.submit(8, [np.float32([[1, 1]] * 7 + [[13, 13]]), 7])
        np.testing.assert_array_equal(result(await batcher.submit(1, rows(2))), [[4, 4]])

    asyncio.run(run())


def test_a_view_of_an_input_is_not_written_over_by_the_next_batch() -> None:
    # NumPy does not tell that this array is a view of another one.
    batcher = Batcher(lambda leaves, seeds: [np.asarray(memoryview(leaves[0]))], INPUTS, 8, 1000)

    async def run() -> None:
        first = await batcher.submit(1, rows(1))
        await batcher.submit(1, rows(2))
        np.testing.assert_array_equal(result(first), [[1, 1]])

    asyncio.run(run())


def test_batches_are_counted_in_the_event_loop() -> None:
    # The metrics are read there, too.
    threads: list[int] = []
    batcher = Batcher(Doubling(), INPUTS, 8, 1000, on_batch=lambda num, seconds: threads.append(threading.get_ident()))
    batcher.is_inline = False

    async def run() -> None:
        await batcher.submit(1, rows(1))

    asyncio.run(run())
    assert threads == [threading.get_ident()]
    batcher.close()


def test_time_of_a_batch_that_does_not_end_is_told() -> None:
    compute = Doubling()
    compute.gate = threading.Event()
    batcher = Batcher(compute, INPUTS, 8, 1000)
    batcher.is_inline = False

    async def run() -> None:
        assert batcher.busy_s == 0.0
        asked = batcher.submit(1, rows(1))
        await asyncio.sleep(0.05)
        assert 0.01 < batcher.busy_s < 5.0
        assert compute.gate is not None
        compute.gate.set()
        await asked
        assert batcher.busy_s == 0.0

    asyncio.run(run())
    batcher.close()
