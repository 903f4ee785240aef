"""PolicyExporter: a policy as the files of a SavedModel, again and again as it learns."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distpolicy.policies.tf_policy import TFPolicy

_VARIABLES = "variables"


class PolicyExporter:
    """Writes a policy's SavedModel into memory.

    The first export traces the policy's functions and takes a second or more. Later ones take only the variables, and
    the rest as it was: some milliseconds.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: TFPolicy) -> None:
        # Imported here: this module is also imported in processes without TensorFlow.
        import tensorflow as tf

        from distpolicy.policies.policy_saver import PolicySaver

        self._version = tf.Variable(0, trainable=False, dtype=tf.int64, name="train_step")
        self._saver = PolicySaver(policy, train_step=self._version)
        self._model: dict[str, bytes] = {}

    def files(self, version: int) -> dict[str, bytes]:
        """Returns the SavedModel with the variables' present values: the bytes of each file by its path.

        Args:
            version: The weights' version, which the SavedModel has as its train step.
        """
        self._version.assign(version)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "policy"
            if self._model:
                self._saver.save_checkpoint(folder)
                return {**self._model, **_contents(folder)}
            self._saver.save(folder)
            files = _contents(folder)
            self._model = {path: data for path, data in files.items() if not path.startswith(f"{_VARIABLES}/")}
            return files


def _contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
