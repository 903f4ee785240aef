from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.policies.py_policy import PyPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep

SPECS = (
    ts.time_step_spec(ArraySpec((2,), np.float32)),
    BoundedArraySpec((), np.int64, 0, 9),
    {"b": ArraySpec((2,), np.int32), "a": ArraySpec((), np.float64)},
)


class Seeded(PyPolicy):
    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        return PolicyStep(seed, policy_state, ())


class Seedless(PyPolicy):
    def _action(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        return PolicyStep("fixed", policy_state, ())


def test_initial_state_is_zeros_of_the_spec() -> None:
    policy = Seeded(*SPECS)
    state = policy.get_initial_state()
    assert state["b"].shape == (2,)
    assert state["b"].dtype == np.int32
    assert state["a"].shape == ()
    batch = policy.get_initial_state(3)
    assert batch["b"].shape == (3, 2)
    assert batch["a"].dtype == np.float64
    assert not batch["b"].any()
    assert Seeded(*SPECS[:2]).get_initial_state(3) == ()


def test_seed_is_handed_on_only_if_there_is_one() -> None:
    step = ts.restart(np.zeros(2, np.float32))
    assert Seeded(*SPECS).action(step, (), 3).action == 3
    assert Seeded(*SPECS).action(step).action is None
    assert Seedless(*SPECS).action(step, "state") == PolicyStep("fixed", "state", ())


def test_specs_are_what_was_given() -> None:
    policy = Seeded(*SPECS, info_spec=ArraySpec((), np.int8))
    assert policy.policy_step_spec == PolicyStep(SPECS[1], SPECS[2], ArraySpec((), np.int8))
    assert policy.time_step_spec is SPECS[0]
