"""Conformance of TFPolicies."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.testing.data import assert_nests_close, random_time_step, row_seeds, rows_of
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import flatten, paths


class TFPolicyConformance:
    """What every TFPolicy owes. Override :meth:`make_policy`, and what else differs.

    Attributes:
        batch_size: B of the batches that are tried.
        has_distribution: Whether ``distribution`` is defined.
        rows_are_independent: Whether a row's action depends on nothing but its own row and seed.
        within_bounds: Whether actions lie within their bounds; a policy with ``clip=False`` may leave them.
        litert: Whether LiteRT can run it; None if either will do.
        savable: Whether PolicySaver can save it.
    """

    batch_size: ClassVar[int] = 5
    has_distribution: ClassVar[bool] = True
    rows_are_independent: ClassVar[bool] = True
    within_bounds: ClassVar[bool] = True
    litert: ClassVar[bool | None] = True
    savable: ClassVar[bool] = True

    def make_policy(self) -> TFPolicy:
        """A new policy; two calls build two alike, with variables of their own."""
        raise NotImplementedError(f"{type(self).__name__} must define make_policy()")

    @pytest.fixture(name="policy")
    def policy_fixture(self) -> TFPolicy:
        """One policy for all tests that do not change it."""
        made = type(self).__dict__.get("_made")
        if made is None:
            made = self.make_policy()
            type(self)._made = made  # type: ignore[attr-defined]
        return made

    def time_step(self, policy: TFPolicy, seed: int = 0, step_type: Any = StepType.MID) -> TimeStep:
        """A batch that the policy can act on; override if not every observation within the spec will do."""
        return random_time_step(policy.time_step_spec, self.batch_size, seed, step_type)

    def _act(self, policy: TFPolicy, step: TimeStep, state: Any, seed: Any) -> PolicyStep:
        tensors = tf.nest.map_structure(tf.constant, step)
        return policy.action(tensors, tf.nest.map_structure(tf.constant, state), tf.constant(seed))

    def _carried_state(self, policy: TFPolicy) -> Any:
        """A state that is not the initial one."""
        state = policy.get_initial_state(self.batch_size)
        return self._act(policy, self.time_step(policy, 7), state, row_seeds(self.batch_size, 7)).state

    def test_step_matches_its_spec(self, policy: TFPolicy) -> None:
        step = self._act(
            policy, self.time_step(policy), policy.get_initial_state(self.batch_size), row_seeds(self.batch_size)
        )
        for name, nest, spec in zip(PolicyStep._fields, step, policy.policy_step_spec, strict=True):
            assert paths(nest) == paths(spec), name
            for path, leaf, leaf_spec in zip(paths(spec), flatten(nest), flatten(spec), strict=True):
                assert leaf.dtype == leaf_spec.dtype, f"{name}{path}"
                assert tuple(leaf.shape) == (self.batch_size, *leaf_spec.shape), f"{name}{path}"

    def test_actions_lie_within_their_bounds(self, policy: TFPolicy) -> None:
        if not self.within_bounds:
            pytest.skip("the policy does not clip")
        for seed in range(5):
            state = policy.get_initial_state(self.batch_size)
            step = self._act(policy, self.time_step(policy, seed), state, row_seeds(self.batch_size, seed))
            for path, leaf, spec in zip(
                paths(policy.action_spec), flatten(step.action), flatten(policy.action_spec), strict=True
            ):
                if tensor_spec.is_bounded(spec):
                    assert np.all(leaf.numpy() >= spec.minimum), path
                    assert np.all(leaf.numpy() <= spec.maximum), path

    def test_same_seed_gives_the_same_step(self, policy: TFPolicy) -> None:
        step, state = self.time_step(policy), policy.get_initial_state(self.batch_size)
        for seed in (row_seeds(self.batch_size), np.array([3, 4], np.int32)):
            assert_nests_close(self._act(policy, step, state, seed), self._act(policy, step, state, seed), 0.0)

    def test_rows_do_not_depend_on_each_other(self, policy: TFPolicy) -> None:
        if not self.rows_are_independent:
            pytest.skip("the policy looks at the whole batch")
        step, state, seeds = self.time_step(policy), self._carried_state(policy), row_seeds(self.batch_size)
        order = np.arange(self.batch_size)[::-1].copy()
        forward = self._act(policy, step, state, seeds)
        backward = self._act(policy, rows_of(step, order), rows_of(state, order), seeds[order])
        assert_nests_close(backward, rows_of(forward, order), 1e-5)
        single = self._act(policy, rows_of(step, slice(0, 1)), rows_of(state, slice(0, 1)), seeds[:1])
        assert_nests_close(single, rows_of(forward, slice(0, 1)), 1e-5)

    def test_initial_state_matches_its_spec(self, policy: TFPolicy) -> None:
        for batch_size, outer in ((None, ()), (3, (3,)), (tf.constant(2), (2,))):
            state = policy.get_initial_state(batch_size)
            assert paths(state) == paths(policy.policy_state_spec)
            for leaf, spec in zip(flatten(state), flatten(policy.policy_state_spec), strict=True):
                assert tuple(leaf.shape) == (*outer, *spec.shape)
                assert leaf.dtype == spec.dtype

    def test_state_is_reset_where_first(self, policy: TFPolicy) -> None:
        if not flatten(policy.policy_state_spec):
            pytest.skip("the policy has no state")
        step_type = np.full(self.batch_size, StepType.MID)
        step_type[::2] = StepType.FIRST
        step, seeds = self.time_step(policy, step_type=step_type), row_seeds(self.batch_size)
        carried, fresh = self._carried_state(policy), policy.get_initial_state(self.batch_size)
        mixed = self._act(policy, step, carried, seeds)
        reset = self._act(policy, step, fresh, seeds)
        assert_nests_close(rows_of(mixed, slice(0, None, 2)), rows_of(reset, slice(0, None, 2)), 1e-6)

    def test_missing_state_is_refused(self, policy: TFPolicy) -> None:
        if not flatten(policy.policy_state_spec):
            pytest.skip("the policy has no state")
        with pytest.raises(ValueError, match="state"):
            policy.action(tf.nest.map_structure(tf.constant, self.time_step(policy)))

    @pytest.mark.parametrize("inference", ["tf", "litert"])
    def test_compiled_step_is_the_eager_one(self, policy: TFPolicy, inference: Any) -> None:
        eager = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference=inference)
        state = other_state = policy.get_initial_state(self.batch_size)
        for seed in range(3):
            # New episodes, running ones and ended ones, side by side.
            step_type = np.resize([StepType.FIRST, StepType.MID, StepType.LAST], self.batch_size)
            step, seeds = self.time_step(policy, seed, step_type), row_seeds(self.batch_size, seed)
            compiled = eager.action(step, state, seeds)
            expected = self._act(policy, step, other_state, seeds)
            assert_nests_close(compiled, expected)
            state, other_state = compiled.state, expected.state
        if inference == "litert" and self.litert is not None:
            assert (eager.inference == "litert") == self.litert, eager.inference_note

    @pytest.mark.parametrize("inference", ["tf", "auto"])
    def test_it_is_traced_once_for_a_batch_size(self, policy: TFPolicy, inference: Any) -> None:
        eager = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference=inference)
        state = eager.get_initial_state(self.batch_size)
        for seed in range(3):
            state = eager.action(self.time_step(policy, seed), state, seed).state
            state = eager.action(self.time_step(policy, seed), state, row_seeds(self.batch_size, seed)).state
        # The first seed of one kind and the first of the other are alike to the compiled call.
        assert eager.tracing_count == 1

    def test_a_single_time_step_needs_no_batch_dimension(self, policy: TFPolicy) -> None:
        eager = PyTFEagerPolicy(policy)
        step = rows_of(self.time_step(policy), 0)
        found = eager.action(step, eager.get_initial_state(), 5)
        for path, leaf, spec in zip(
            paths(eager.action_spec), flatten(found.action), flatten(eager.action_spec), strict=True
        ):
            assert np.asarray(leaf).shape == spec.shape, path
            assert np.asarray(leaf).dtype == spec.dtype, path

    def test_two_that_are_built_alike_have_the_same_variables(self, policy: TFPolicy) -> None:
        other = self.make_policy()
        named = policy.named_variables()
        assert [item.path for item in named] == [item.path for item in other.named_variables()]
        assert len({item.path for item in named}) == len(named)
        assert len(policy.variables()) == len(named)
        assert {id(item.variable) for item in named}.isdisjoint(id(item) for item in other.variables())

    @pytest.mark.parametrize("tau", [1.0, 0.25, 0.0])
    def test_update_moves_the_variables_by_tau(self, policy: TFPolicy, tau: float) -> None:
        target = self.make_policy()
        before = [variable.numpy() for variable in target.variables()]
        for variable in target.variables():
            if variable.dtype.is_floating:
                variable.assign(variable + 1)
        target.update(policy, tau=tau)
        for variable, old, source in zip(target.variables(), before, policy.variables(), strict=True):
            if variable.dtype.is_floating:
                want = (1 - tau) * (old + 1) + tau * source.numpy()
                np.testing.assert_allclose(variable.numpy(), want, rtol=1e-5, atol=1e-5)

    def test_update_reaches_the_next_compiled_step(self, policy: TFPolicy) -> None:
        target = self.make_policy()
        if not target.trainable_variables:
            pytest.skip("the policy learns nothing")
        eager = PyTFEagerPolicy(target, use_tf_function=True, batch_time_steps=False, inference="auto")
        step, state, seeds = (
            self.time_step(policy),
            policy.get_initial_state(self.batch_size),
            row_seeds(self.batch_size),
        )
        eager.action(step, state, seeds)
        source = self.make_policy()
        for index, variable in enumerate(source.trainable_variables):
            draw = np.random.default_rng(index).normal(size=variable.shape)
            variable.assign(draw.astype(variable.dtype.as_numpy_dtype))
        eager.update(source)
        assert_nests_close(eager.action(step, state, seeds), self._act(source, step, state, seeds), 1e-3)

    def test_distribution_is_the_one_that_is_drawn_from(self, policy: TFPolicy) -> None:
        step, state = self.time_step(policy), policy.get_initial_state(self.batch_size)
        tensors = tf.nest.map_structure(tf.constant, step)
        if not self.has_distribution:
            with pytest.raises(NotImplementedError):
                policy.distribution(tensors, state)
            return
        found = policy.distribution(tensors, state)
        assert paths(found.action) == paths(policy.action_spec)
        for item, spec in zip(flatten(found.action), flatten(policy.action_spec), strict=True):
            assert item.dtype == spec.dtype
            assert tuple(item.batch_shape) + tuple(item.event_shape) == (self.batch_size, *spec.shape)
        assert_nests_close(found.state, self._act(policy, step, state, row_seeds(self.batch_size)).state, 1e-5)

    def test_wrong_inputs_are_refused(self, policy: TFPolicy) -> None:
        if not policy.validate_args:
            pytest.skip("the policy does not check")
        good = tf.nest.map_structure(tf.constant, self.time_step(policy))
        state = policy.get_initial_state(self.batch_size)
        wrong = {
            "structure": good._replace(observation=[good.observation, good.observation]),
            "dtype": good._replace(reward=tf.cast(good.reward, tf.float64)),
            "shape": good._replace(discount=good.discount[:, tf.newaxis]),
        }
        for step in wrong.values():
            with pytest.raises((ValueError, TypeError), match="time_step"):
                policy.action(step, state)

    def test_specs_of_the_data_are_those_of_its_steps(self, policy: TFPolicy) -> None:
        spec = policy.trajectory_spec
        assert paths(policy.collect_data_spec) == paths(spec)
        assert paths(spec.action) == paths(policy.action_spec)
        assert paths(spec.policy_info) == paths(policy.info_spec)
        assert paths(spec.observation) == paths(policy.time_step_spec.observation)

    def test_saved_and_loaded_it_acts_alike(self, policy: TFPolicy, tmp_path: Path) -> None:
        if not self.savable:
            pytest.skip("the policy cannot be saved")
        from distpolicy.policies import policy_loader
        from distpolicy.policies.policy_saver import PolicySaver

        PolicySaver(policy).save(str(tmp_path / "policy"))
        loaded = policy_loader.load(str(tmp_path / "policy"))
        step, seed = self.time_step(policy), np.array([1, 2], np.int32)
        state = loaded.get_initial_state(self.batch_size)
        assert_nests_close(state, policy.get_initial_state(self.batch_size), 0.0)
        for _ in range(2):
            found, expected = self._act(loaded, step, state, seed), self._act(policy, step, state, seed)
            assert_nests_close(found, expected, 1e-5)
            state = found.state
