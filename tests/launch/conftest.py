from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from commands import no_process_left  # noqa: F401
from ray_head import RayHead, ray_head


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray of four CPUs in this process, for a module. Its workers find the environments of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
        yield
        ray.shutdown()


@pytest.fixture
def heeded_interrupt() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    """One head for all modules that need a cluster; its GPU exists only by declaration, and it has roles."""
    resources = '--resources={"collector": 2, "learner": 1}'
    with ray_head(tmp_path_factory.mktemp("cluster"), "--num-cpus=2", "--num-gpus=1", resources) as started:
        yield started
