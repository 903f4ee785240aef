"""A Ray that a command starts, over many calls."""

from __future__ import annotations

import psutil
import pytest
import ray

from launch.cluster import session


def control_stores() -> set[psutil.Process]:
    """The control stores that this process has started; a cluster of other tests may run, too."""
    return {process for process in psutil.Process().children(recursive=True) if process.name() == "gcs_server"}


@pytest.mark.slow
def test_rays_control_store_does_not_grow_with_the_number_of_calls() -> None:
    class Idle:
        def call(self) -> None: ...

    others = control_stores()
    with session.connected(None):
        (store,) = control_stores() - others
        actor = ray.remote(Idle).options(num_cpus=0).remote()

        def call(times: int) -> float:
            for _ in range(times // 500):
                ray.get([actor.call.remote() for _ in range(500)], timeout=300.0)
            return store.memory_info().rss / 2**20

        # Ray's own limit is 100,000 calls, at 2.5 kB each: 60 MiB for the later calls here.
        before = call(25_000)
        assert call(25_000) <= before + 15.0
        ray.kill(actor)
