"""Batches of transitions for the tests of agents that learn from datasets."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep, time_step_spec
from distpolicy.trajectories.transitions import Transition

OBSERVATION = ArraySpec((3,), np.float32)
DISCRETE = BoundedArraySpec((), np.int64, 2, 4)
CONTINUOUS = BoundedArraySpec((2,), np.float32, -1.0, 1.0)
NESTED = {"move": CONTINUOUS, "jump": DISCRETE}
ACTIONS = {"discrete": DISCRETE, "continuous": CONTINUOUS, "nested": NESTED}
B = 6


def specs_of(action_spec: Any, observation: Any = OBSERVATION) -> EnvironmentSpecs:
    return EnvironmentSpecs(time_step_spec(observation), action_spec)


def transitions(action_spec: Any, seed: int = 0, num_rows: int = B) -> Transition:
    """Random transitions; the third of them ends its episode."""
    rng = np.random.default_rng(seed)
    actions = {
        "jump": rng.integers(2, 5, num_rows),
        "move": rng.uniform(-0.9, 0.9, (num_rows, 2)).astype(np.float32),
    }
    action = actions if action_spec is NESTED else actions["jump" if action_spec is DISCRETE else "move"]
    observation, after = rng.normal(size=(2, num_rows, 3)).astype(np.float32)
    zeros, mid = np.zeros(num_rows, np.float32), np.full(num_rows, StepType.MID, np.int32)
    reward, discount, last = rng.normal(size=num_rows).astype(np.float32), np.ones(num_rows, np.float32), mid.copy()
    discount[2], last[2] = 0.0, StepType.LAST
    return Transition(
        TimeStep(mid, zeros, zeros, observation),
        PolicyStep(action, (), ()),
        TimeStep(last, reward, discount, after),
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
