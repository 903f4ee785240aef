"""Samples per insert: exact arithmetic that cannot deadlock."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distpolicy.errors import ConfigError
from workers.experience.replay.debt import SampleDebt


@given(
    inserts=st.lists(st.integers(0, 500), max_size=20),
    ratio=st.fractions(Fraction(1, 100), 300, max_denominator=1000),
    min_size=st.integers(0, 600),
    cost=st.integers(1, 500),
    resumed_after=st.integers(0, 20),
)
def test_calls_are_what_the_transitions_pay_for(
    inserts: list[int], ratio: Fraction, min_size: int, cost: int, resumed_after: int
) -> None:
    debt = SampleDebt(float(ratio), min_size, cost)
    calls = total = 0
    for index, count in enumerate(inserts):
        debt.insert(count)
        total += count
        while debt.pay():
            calls += 1
        assert calls == max(0, total - min_size) * ratio // cost
        if index == resumed_after:
            state, debt = debt.state(), SampleDebt(float(ratio), min_size, cost)
            assert all(array.dtype == np.int64 for array in state.values())
            debt.restore(state)


def test_a_tenth_is_a_tenth_after_a_million_inserts() -> None:
    debt = SampleDebt(0.1, 0, 100_000)
    for _ in range(1000):
        debt.insert(1000)
    assert debt.pay()
    assert not debt.pay()


def test_a_ratio_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="samples_per_insert must be"):
        SampleDebt(0.0, 0, 1)


def test_an_empty_state_begins_anew() -> None:
    debt = SampleDebt(1.0, 5, 10)
    debt.insert(30)
    debt.restore({})
    debt.insert(14)
    assert not debt.pay()


def test_a_run_that_goes_on_with_other_ratios_can_always_be_saved() -> None:
    state = None
    for denominator in (999_983, 999_979, 999_961, 999_959):
        debt = SampleDebt(500_000 / denominator, 0, 10**6)
        if state is not None:
            debt.restore(state)
        debt.insert(7)
        state = debt.state()
    assert state is not None
    assert int(state["debt"][0]) / int(state["debt"][1]) == pytest.approx(14.0, abs=1e-2)
