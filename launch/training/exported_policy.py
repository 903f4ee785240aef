"""Loading the policy that a run exports, in the process that runs it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from distpolicy.errors import CheckpointError
from distpolicy.utils.atomic_files import write_folder
from launch.output.run_directory import RunDirectory

if TYPE_CHECKING:
    from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy


class ExportedPolicies:
    """The policies in a run directory: ``policy`` and ``collect_policy``, and the best ones of all evaluations.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory

    def write(self, policies: Mapping[str, Mapping[str, bytes]], is_best: bool = False) -> None:
        """Writes policies, each whole or not at all, in place of earlier ones.

        Args:
            policies: The files of each policy by its name.
            is_best: Whether to write them as ``best_policy`` and ``best_collect_policy``.
        """
        for name, files in policies.items():
            write_folder(self._directory.path / (f"best_{name}" if is_best else name), files)


def load_policy(folder: Path) -> PyTFEagerPolicy:
    """Returns the policy in a run directory. It acts on NumPy arrays of one environment. Imports TensorFlow.

    Args:
        folder: The run directory's ``policy``.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder.parent} has no policy: a run writes it with its first checkpoint")
    # TensorFlow's messages are for its developers.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from distpolicy.policies.py_tf_eager_policy import SavedModelPyTFEagerPolicy

    # Otherwise TensorFlow takes the whole memory of a GPU, and the learner needs some, too.
    with contextlib.suppress(RuntimeError):  # It is in use already.
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    return SavedModelPyTFEagerPolicy(folder, use_tf_function=True, jit_compile=False)


def policy_from_files(files: Mapping[str, bytes]) -> PyTFEagerPolicy:
    """Returns the policy from the files that the learner exports.

    Args:
        files: Contents by path.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy"
        write_folder(path, files)
        return load_policy(path)
