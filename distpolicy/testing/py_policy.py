"""Conformance of PyPolicies."""

from __future__ import annotations

import contextlib
from typing import ClassVar

import numpy as np

from distpolicy.policies.py_policy import PyPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.testing.data import assert_nests_close, random_time_step, rows_of
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths


class PyPolicyConformance:
    """What every PyPolicy owes. Override :meth:`make_policy`.

    Attributes:
        batch_size: B of the batches that are tried; None if the policy takes single time steps only.
    """

    batch_size: ClassVar[int | None] = 4

    def make_policy(self) -> PyPolicy:
        """A new policy; two calls build two alike that draw alike."""
        raise NotImplementedError(f"{type(self).__name__} must define make_policy()")

    def time_step(self, policy: PyPolicy, seed: int = 0) -> TimeStep:
        """A time step, or a batch, that the policy can act on."""
        step = random_time_step(policy.time_step_spec, self.batch_size or 1, seed)
        return step if self.batch_size else rows_of(step, 0)

    def test_step_matches_its_spec(self) -> None:
        policy = self.make_policy()
        outer = (self.batch_size,) if self.batch_size else ()
        state = policy.get_initial_state(self.batch_size)
        for seed in range(5):
            step = policy.action(self.time_step(policy, seed), state)
            for name, nest, spec in zip(PolicyStep._fields, step, policy.policy_step_spec, strict=True):
                if name == "state":
                    continue
                assert paths(nest) == paths(spec), name
                for path, leaf, leaf_spec in zip(paths(spec), flatten(nest), flatten(spec), strict=True):
                    assert isinstance(leaf, np.ndarray | np.generic), f"{name}{path} is a {type(leaf).__name__}"
                    assert leaf.dtype == leaf_spec.dtype, f"{name}{path}"
                    assert leaf.shape == (*outer, *leaf_spec.shape), f"{name}{path}"
                    if name == "action" and isinstance(leaf_spec, BoundedArraySpec):
                        assert np.all(leaf >= leaf_spec.minimum), f"{name}{path}"
                        assert np.all(leaf <= leaf_spec.maximum), f"{name}{path}"
            state = step.state

    def test_two_that_are_built_alike_act_alike(self) -> None:
        first, second = self.make_policy(), self.make_policy()
        states = [policy.get_initial_state(self.batch_size) for policy in (first, second)]
        for seed in range(3):
            step = self.time_step(first, seed)
            steps = [policy.action(step, state) for policy, state in zip((first, second), states, strict=True)]
            assert_nests_close(steps[0].action, steps[1].action, 0.0)
            states = [item.state for item in steps]

    def test_the_inputs_are_left_as_they_were(self) -> None:
        policy = self.make_policy()
        step = self.time_step(policy)
        copy = map_structure(np.copy, step)
        # Whatever it makes of read-only memory, as collectors and the object store hand it out, it may not write there.
        for leaf in flatten(step):
            with contextlib.suppress(ValueError, AttributeError):
                leaf.setflags(write=False)
        policy.action(step, policy.get_initial_state(self.batch_size))
        assert_nests_close(step, copy, 0.0)

    def test_specs_of_the_data_are_those_of_its_steps(self) -> None:
        policy = self.make_policy()
        assert paths(policy.trajectory_spec.action) == paths(policy.action_spec)
        assert paths(policy.collect_data_spec) == paths(policy.trajectory_spec)
        assert paths(policy.trajectory_spec.policy_info) == paths(policy.info_spec)
