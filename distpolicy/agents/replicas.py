"""Replicas: learners in several processes that take the same steps, each from its part of the batch."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import tensorflow as tf

# Of all collectives of one run; each has its own instance key.
_GROUP_KEY = 1
_FIRST_INSTANCE_KEY = 1000


class Replicas:
    """This process among those that learn together.

    It joins them by TensorFlow's own distribution: ``TF_CONFIG`` and ``MultiWorkerMirroredStrategy``, which starts
    TensorFlow's server in every process and watches over the others. What is added up over the processes goes through
    the collective operation that the strategy is built on, not through the strategy's replica context, whose
    ``all_reduce`` cannot stand inside a loop of a graph on CPUs.

    TensorFlow's server listens on all of a host's interfaces and asks nobody for a name: several learners belong into
    a network that can be trusted.

    Args:
        addresses: Of all replicas, ``HOST:PORT``; the same everywhere.
        rank: The place of this process among them.

    Raises:
        RuntimeError: If TensorFlow has already run an operation in this process.
    """

    def __init__(self, addresses: Sequence[str], rank: int) -> None:
        self._count, self._rank = len(addresses), rank
        self._next_key = _FIRST_INSTANCE_KEY
        cluster = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}}
        os.environ["TF_CONFIG"] = json.dumps(cluster)
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy()

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def rank(self) -> int:
        """The place of this one, from 0 on."""
        return self._rank

    def all_sum(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum over all replicas, the same bits on each.

        For use inside a ``tf.function`` that all of them call, without XLA: its collectives are matched by the order
        in which they were traced.

        Args:
            tensor: Of the same shape on all.
        """
        self._next_key += 1
        return tf.ensure_shape(
            tf.raw_ops.CollectiveReduceV2(
                input=tensor,
                group_size=self._count,
                group_key=_GROUP_KEY,
                instance_key=self._next_key,
                ordering_token=[],
                merge_op="Add",
                final_op="Id",
            ),
            tensor.shape,
        )
