"""check_node: looks at a node's versions, imports, GPUs and free space.

It uses the standard library only, since everything else may be missing on the node.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

# Distributions that must have the same version on all nodes.
PACKAGES = (
    "distpolicy",
    "ray",
    "tensorflow",
    "tensorflow-probability",
    "tf-keras",
    "keras",
    "ai-edge-litert",
    "numpy",
    "gymnasium",
)

# The modules that collectors and learners import. A module comes after those that it needs.
MODULES = (
    "numpy",
    "gymnasium",
    "pyarrow",
    "tensorflow",
    "keras",
    "tf_keras",
    "tensorflow_probability.python.distributions",
    "ai_edge_litert.interpreter",
    "ray",
    "distpolicy",
    "workers.collection.collector",
    "workers.learning.learner",
)

_IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(name, flush=True)
tensorflow = sys.modules.get("tensorflow")
if tensorflow:
    print(len(tensorflow.config.list_physical_devices("GPU")))
"""

SHARED_MEMORY = "/dev/shm"


def check_node(timeout_s: float, modules: Sequence[str] = MODULES) -> dict[str, Any]:
    """Checks the node that this function runs on.

    Args:
        timeout_s: Seconds that the imports may take.
        modules: Modules to import. They are imported in a new process, since an import may crash.

    Returns:
        A dict with these keys:

        - versions: The version of Python and of each of :data:`PACKAGES`; None for a package that is not installed.
        - failure: The first import that failed and why, or None.
        - import_s: Seconds that the imports took.
        - num_gpus: Number of GPUs that TensorFlow finds, or None if TensorFlow was not imported.
        - disk: The folder of temporary files, and the free and total bytes of its disk.
        - shared_memory: The free and total bytes of /dev/shm, or None if it does not exist.
    """
    start = time.monotonic()
    failure, num_gpus = _import_all(modules, timeout_s)
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    disk = shutil.disk_usage(folder)
    shared = shutil.disk_usage(SHARED_MEMORY) if os.path.isdir(SHARED_MEMORY) else None
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "failure": failure,
        "import_s": time.monotonic() - start,
        "num_gpus": num_gpus,
        "disk": (folder, disk.free, disk.total),
        "shared_memory": shared and (shared.free, shared.total),
    }


def checksum(data: Any) -> str:
    """Returns the SHA-256 of an array's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _import_all(modules: Sequence[str], timeout_s: float) -> tuple[str | None, int | None]:
    """Returns the first import that failed and why, or None, and the number of GPUs, or None."""
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    # With an older setting, Ray hides the GPUs from tasks that do not ask for one.
    if not environment.get("CUDA_VISIBLE_DEVICES", "all"):
        del environment["CUDA_VISIBLE_DEVICES"]
    command = [sys.executable, "-c", _IMPORT_EACH, *modules]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)
    except subprocess.TimeoutExpired as error:
        imported = (error.stdout or b"").decode().split()
        return f"import {_next(modules, imported)}: not done in {timeout_s:g} s", None
    imported = done.stdout.split()
    num_gpus = int(imported.pop()) if imported and imported[-1].isdigit() else None
    if done.returncode == 0:
        return None, num_gpus
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = f"killed by signal {-done.returncode}" if done.returncode < 0 else (lines or ["no message"])[-1]
    return f"import {_next(modules, imported)}: {reason}", num_gpus


def _next(modules: Sequence[str], imported: Sequence[str]) -> str:
    """Returns the name of the module that was being imported."""
    return next((name for name in modules if name not in imported), "tensorflow: listing its GPUs")
