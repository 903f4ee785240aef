"""Checkpointer: checkpoints of a training program, the newest ones of which are kept."""

from __future__ import annotations

import os
from typing import Any

import keras
import tensorflow as tf

from distpolicy.utils.variables.variable_watch import mark_updated


class Checkpointer:
    """Saves objects of TensorFlow, such as an agent, a replay buffer and a step, and restores the newest save.

    The newest checkpoint of the folder, if there is one, is restored when the object is made. Variables that are
    created later get their values then.

    Args:
        ckpt_dir: The folder. It is created if it does not exist.
        max_to_keep: Number of checkpoints that are kept.
        kwargs: The objects by name.
    """

    def __init__(self, ckpt_dir: str | os.PathLike[str], max_to_keep: int = 20, **kwargs: Any) -> None:
        folder = os.fspath(ckpt_dir)
        tf.io.gfile.makedirs(folder)
        self._checkpoint = checkpoint = tf.train.Checkpoint(**kwargs)
        self._manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep)
        self._checkpoint_exists = self._manager.latest_checkpoint is not None
        self._load_status = checkpoint.restore(self._manager.latest_checkpoint)
        self._mark_restored()

    @property
    def checkpoint_exists(self) -> bool:
        """Whether the folder holds a checkpoint."""
        return self._checkpoint_exists

    @property
    def manager(self) -> tf.train.CheckpointManager:
        """TensorFlow's manager of the folder."""
        return self._manager

    def initialize_or_restore(self, session: Any = None) -> Any:
        """Returns the status of the restored checkpoint.

        Args:
            session: None. TensorFlow 2 has no sessions.
        """
        self._load_status.initialize_or_restore(session)
        self._mark_restored()
        return self._load_status

    def save(self, global_step: Any, options: tf.train.CheckpointOptions | None = None) -> None:
        """Saves the objects.

        Args:
            global_step: The checkpoint's number, an integer, a scalar or a variable.
            options: TensorFlow's options.
        """
        self._manager.save(checkpoint_number=global_step, options=options)
        self._checkpoint_exists = True

    def _mark_restored(self) -> None:
        """Makes policies of this process that act by a copy of the weights take the restored ones."""
        if self._checkpoint_exists:
            items = tf.train.TrackableView(self._checkpoint).descendants()
            found = [item.value if isinstance(item, keras.Variable) else item for item in items]
            mark_updated(item for item in found if isinstance(item, tf.Variable))
