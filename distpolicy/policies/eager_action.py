"""EagerAction: a policy's action on NumPy arrays, not compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure


class EagerAction:
    """Calls ``policy.action`` as it is.

    Args:
        policy: The policy.
    """

    # Nothing is traced or compiled.
    tracing_count = 0
    jit_compiled = False

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def __call__(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray) -> PolicyStep:
        """Returns the policy's step: action and info as NumPy arrays, the state as tensors.

        Args:
            time_step: Nest of arrays.
            policy_state: Nest of tensors or arrays.
            seed: int32 ``[2]`` or ``[B, 2]``.
        """
        tensors = map_structure(tf.constant, time_step)
        policy_state = map_structure(tf.convert_to_tensor, policy_state)
        step = self._policy.action(tensors, policy_state, tf.constant(seed))
        return PolicyStep(map_structure(np.asarray, step.action), step.state, map_structure(np.asarray, step.info))
