from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.policies.py_policy import PyPolicy
from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import map_structure

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


def test_tensor_specs_become_array_specs() -> None:
    specs = tf.nest.map_structure(tensor_spec.from_spec, SPECS)
    policy = Seeded(*specs, info_spec=tf.TensorSpec((), tf.int8))
    assert (policy.time_step_spec, policy.action_spec, policy.policy_state_spec) == SPECS
    assert policy.info_spec == ArraySpec((), np.int8)
    mixed = Seeded(SPECS[0], [SPECS[1], specs[1]])
    assert mixed.action_spec == [SPECS[1], SPECS[1]]


def test_trajectory_spec_has_no_policy_state() -> None:
    policy = Seeded(*SPECS, info_spec=[ArraySpec((), np.int8)])
    spec = policy.trajectory_spec
    assert (spec.observation, spec.action, spec.policy_info) == (SPECS[0].observation, SPECS[1], policy.info_spec)
    assert (spec.step_type, spec.next_step_type) == (SPECS[0].step_type, SPECS[0].step_type)
    assert (spec.reward, spec.discount) == (SPECS[0].reward, SPECS[0].discount)
    assert policy.collect_data_spec == spec


def test_splitter_is_kept() -> None:
    splitter = lambda observation: (observation, observation)  # noqa: E731
    assert Seeded(*SPECS).observation_and_action_constraint_splitter is None
    policy = Seeded(*SPECS, observation_and_action_constraint_splitter=splitter)
    assert policy.observation_and_action_constraint_splitter is splitter


def test_subclass_can_begin_with_another_state() -> None:
    class Ones(Seeded):
        def _get_initial_state(self, batch_size: int | None) -> Any:
            return map_structure(lambda leaf: leaf + 1, super()._get_initial_state(batch_size))

    assert Ones(*SPECS).get_initial_state(2)["b"].tolist() == [[1, 1], [1, 1]]


def test_it_imports_no_tensorflow() -> None:
    code = "import sys, distpolicy.policies.py_policy; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
