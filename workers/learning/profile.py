"""LearnerProfile: TensorFlow's profile of the learner's process."""

from __future__ import annotations

import tempfile
from pathlib import Path


class LearnerProfile:
    """A profile of this process by TensorFlow's profiler, from its making to :meth:`stop`."""

    def __init__(self) -> None:
        import tensorflow as tf

        self._folder = tempfile.TemporaryDirectory(prefix="distpolicy-profile-")
        # No Python calls: they would be most of the file, and slow what is measured.
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
        tf.profiler.experimental.start(self._folder.name, options)

    def stop(self) -> dict[str, bytes]:
        """Ends the profile; returns its files by path."""
        import tensorflow as tf

        tf.profiler.experimental.stop()
        folder = Path(self._folder.name)
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self._folder.cleanup()
        return files
