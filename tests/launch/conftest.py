from __future__ import annotations

from collections.abc import Iterator

import pytest
from commands import no_process_left  # noqa: F401
from ray_head import RayHead, ray_head


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    """One head for all modules that need a cluster; its GPU exists only by declaration, and it has roles."""
    resources = '--resources={"collector": 2, "learner": 1}'
    with ray_head(tmp_path_factory.mktemp("cluster"), "--num-cpus=2", "--num-gpus=1", resources) as started:
        yield started
