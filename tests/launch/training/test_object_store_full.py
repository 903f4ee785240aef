"""Rollouts for which there is no room, neither in Ray's object store nor on the disk that it spills to."""

from __future__ import annotations

from pathlib import Path

import pytest
from light_workers import Watcher, light_driver, small_store
from small_disk import enlarge, small_disk
from test_object_store import check_learned_from_all_once

from distpolicy.errors import DistPolicyError


@pytest.mark.slow
def test_a_full_object_store_on_a_full_disk_ends_the_run_in_one_line_and_another_goes_on_once_there_is_room(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path, "2m") as disk, small_store(disk):
        driver = light_driver(num_collectors=3, rollout_bytes=50_000_000, num_updates=4, watcher=Watcher())
        with pytest.raises(DistPolicyError, match=r"object store .*is full .*[Dd]isk") as error:
            list(driver.updates())
        driver.close()
        assert "\n" not in str(error.value)

        enlarge(disk, "1g")
        watcher = Watcher()
        driver = light_driver(num_collectors=3, rollout_bytes=50_000_000, num_updates=4, watcher=watcher)
        list(driver.updates())
        driver.close()
        check_learned_from_all_once(watcher, 3, 4)
