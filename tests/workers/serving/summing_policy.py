"""SummingPolicy: a recurrent policy in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep, time_step_spec


class SummingPolicy:
    """Its action is the sum of its observations in the episode, and its info the number of steps."""

    def __init__(self, has_state: bool = True) -> None:
        self.time_step_spec = time_step_spec(
            {"value": BoundedArraySpec((2,), np.float32, -100, 100), "picture": ArraySpec((2, 2), np.uint8)}
        )
        self.action_spec = ArraySpec((2,), np.float32)
        self.info_spec: Any = {"steps": ArraySpec((), np.int64)} if has_state else ()
        self.policy_state_spec = (ArraySpec((2,), np.float32), ArraySpec((), np.int64)) if has_state else ()
        self.factor = 1.0
        self.error: Exception | None = None

    def get_initial_state(self, batch_size: int) -> Any:
        if not self.policy_state_spec:
            return ()
        return np.zeros((batch_size, 2), np.float32), np.zeros(batch_size, np.int64)

    def action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        if self.error is not None:
            raise self.error
        value = self.factor * time_step.observation["value"]
        if not policy_state:
            return PolicyStep(value, (), ())
        kept = time_step.step_type != 0
        total = np.float32(kept[:, None] * policy_state[0] + value)
        steps = kept * policy_state[1] + 1
        return PolicyStep(total, (total, steps), {"steps": steps})
