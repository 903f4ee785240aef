"""FixedPyPolicy: always takes the same action, without TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.policies.py_policy import PyPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure


class FixedPyPolicy(PyPolicy):
    """Takes the same action at every time step.

    Args:
        action: Nest of arrays like ``action_spec``.
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of specs.
    """

    def __init__(self, action: Any, time_step_spec: TimeStep, action_spec: Any) -> None:
        super().__init__(time_step_spec, action_spec)
        self._fixed = map_structure(lambda spec, leaf: np.asarray(leaf, spec.dtype), self.action_spec, action)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        outer = np.shape(time_step.step_type)
        action = map_structure(lambda leaf: np.broadcast_to(leaf, (*outer, *leaf.shape)).copy(), self._fixed)
        return PolicyStep(action, policy_state, ())
