"""DrawRecorder: finds out what random numbers a policy draws while it is traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.policies.action_program import Draw
from distpolicy.utils.sampling.tensor_draws import generate_uniform


class DrawRecorder:
    """Draws random numbers for a policy, and keeps a record of the draws.

    It is a source for :func:`distpolicy.utils.sampling.tensor_draws.noise_from`, for one trace.

    Args:
        seed: The seeds that the policy gets, int32 ``[B, 2]``, a tensor of the graph that is traced.
    """

    def __init__(self, seed: tf.Tensor) -> None:
        self._seed = seed
        self._draws: list[Draw] = []
        self._knows_all = True

    @property
    def draws(self) -> tuple[Draw, ...] | None:
        """The draws in order; None if one has a seed other than the row's own with a constant added."""
        return tuple(self._draws) if self._knows_all else None

    def __call__(self, seed: tf.Tensor, num: int) -> tf.Tensor:
        """Draws uniform numbers, float32 ``[B, num]``."""
        offset = self._offset(seed)
        if offset is None:
            self._knows_all = False
        else:
            self._draws.append(Draw(offset if offset.any() else None, num))
        return generate_uniform(seed, num)

    def _offset(self, tensor: Any) -> np.ndarray | None:
        """Returns what was added to the seeds, int32 ``[2]``; None if this is not how the tensor was made."""
        if tensor is self._seed:
            return np.zeros(2, np.int32)
        if not tf.is_tensor(tensor) or not hasattr(tensor, "op"):
            return None
        if tensor.op.type == "Identity":
            return self._offset(tensor.op.inputs[0])
        if tensor.op.type not in ("Add", "AddV2"):
            return None
        for first, second in (tensor.op.inputs, reversed(tensor.op.inputs)):
            added, offset = tf.get_static_value(second), self._offset(first)
            if offset is not None and added is not None and added.shape == (2,):
                return offset + added
        return None
