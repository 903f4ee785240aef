"""Replicas: learners in several processes that take the same steps, each from its part of the batch."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import tensorflow as tf

# Group key of the collectives in this module; each has its own instance key. The strategy counts its groups from 1 on.
_GROUP_KEY = 1000


class Replicas:
    """This process as one of several that learn together.

    It joins them by TensorFlow's own distribution: ``TF_CONFIG`` and ``MultiWorkerMirroredStrategy``, which starts
    TensorFlow's server in every process and watches over the others. Sums go through the collective operation that the
    strategy is built on, which can stand in the loop over minibatches. What else there is, by benchmarks/learners.py
    (two processes on one machine; a gradient of 9,155 and of a million numbers):

    - The strategy's own ``all_reduce`` takes 2.3 and 1.2 times as long, and cannot stand in a loop.
    - Arrays sent from actor to actor take 1.4 and 0.8 times as long. Python would come between any two minibatches, and
      each learner send its gradient to each other; the operation sends it around once, and on GPUs it may be NCCL's.
    - ``ray.util.collective`` adds up arrays of PyTorch and CuPy alone.

    TensorFlow's server listens on all of a host's interfaces and asks nobody for a token: several learners belong into
    a network that can be trusted.

    Args:
        addresses: Of all replicas, ``HOST:PORT``; the same everywhere.
        rank: The place of this process among them.

    Raises:
        RuntimeError: If TensorFlow has already run an operation in this process.
    """

    def __init__(self, addresses: Sequence[str], rank: int) -> None:
        self._count, self._rank = len(addresses), rank
        self._next_key = 0
        cluster = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}}
        os.environ["TF_CONFIG"] = json.dumps(cluster)
        # Kept, since it watches over the others for as long as it lives.
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        self._device = f"/job:worker/replica:0/task:{rank}/device:{kind}:0"

    @property
    def count(self) -> int:
        """Number of replicas."""
        return self._count

    @property
    def rank(self) -> int:
        """Rank of this replica, from 0 on."""
        return self._rank

    def all_sum(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the sum over all replicas, bitwise the same on each.

        For use inside a ``tf.function`` that all of them call, without XLA: its collectives are matched by the order
        in which they were traced.

        Args:
            tensor: Of the same shape on all.
        """
        self._next_key += 1
        # A group is of devices of one kind.
        with tf.device(self._device):
            total = tf.raw_ops.CollectiveReduceV2(
                input=tensor,
                group_size=self._count,
                group_key=_GROUP_KEY,
                instance_key=self._next_key,
                ordering_token=[],
                merge_op="Add",
                final_op="Id",
            )
        return tf.ensure_shape(total, tensor.shape)
