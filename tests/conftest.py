from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

import pytest
from hypothesis import settings

WITH_RAY = ("launch", "cluster")

# The key that seals config files is made here, and not among the user's own settings.
if "DISTPOLICY_TEST_SETTINGS" not in os.environ:
    folder = tempfile.mkdtemp(prefix="distpolicy-test-")
    os.environ["DISTPOLICY_TEST_SETTINGS"] = os.environ["XDG_CONFIG_HOME"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

# Examples may take any time: a machine may be busy.
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")


def folder_of(nodeid: str) -> str:
    return nodeid.split("/")[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest parts first: others fill the time of whoever is done.
    items.sort(key=lambda item: (*WITH_RAY, folder_of(item.nodeid)).index(folder_of(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``pytest -n``: what starts a Ray goes one after the other, and so do the tests of each other file.

    Commands are looked for among all that tests have started, and those of several hosts take the same addresses.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = folder_of(nodeid)
            return folder if folder in WITH_RAY else nodeid.split("::")[0]

    config.option.loadscopereorder = False
    return ByFolder(config, log)
