from __future__ import annotations

import pytest

from launch.output.recent_speed import RecentSpeed


def test_a_slow_down_shows_after_some_seconds() -> None:
    speed, total = RecentSpeed(0.0), 0.0
    found = []
    for second in range(1, 61):
        total += 100.0 if second <= 30 else 10.0
        found.append(speed.add(float(second), total))
    assert found[29] == pytest.approx(100.0)
    assert found[34] == pytest.approx(55.0)
    assert found[40:] == pytest.approx([10.0] * 20)


def test_the_time_of_getting_ready_counts_only_at_first() -> None:
    speed = RecentSpeed(0.0)
    assert speed.add(100.0, 50.0) == pytest.approx(0.5)
    assert speed.add(101.0, 150.0) == pytest.approx(100.0)
    assert speed.add(102.0, 250.0) == pytest.approx(100.0)


def test_an_addition_longer_than_the_window_is_taken_whole() -> None:
    speed = RecentSpeed(0.0)
    for minute in (1, 2, 3):
        found = speed.add(60.0 * minute, 600.0 * minute)
    assert found == pytest.approx(10.0)
    assert speed.add(180.0, 1800.0) == pytest.approx(10.0)


def test_a_short_run_has_the_speed_of_the_whole() -> None:
    # A collector says that it has nothing to add, and another one answers a moment later.
    for additions in ([(2.0, 200.0), (2.1, 200.0), (2.2, 200.0)], [(2.0, 200.0), (2.001, 400.0)], [(2.0, 200.0)]):
        speed = RecentSpeed(0.0)
        found = [speed.add(*addition) for addition in additions]
        now_s, total = additions[-1]
        assert found[-1] == pytest.approx(total / now_s)


def test_a_pause_after_the_first_addition_shows() -> None:
    speed = RecentSpeed(0.0)
    speed.add(10.0, 1000.0)
    assert speed.add(30.0, 1000.0) == pytest.approx(1000.0 / 30.0)
    assert speed.add(31.0, 1105.0) == pytest.approx(5.0)
