"""Conformance suites: what policies and recurrent networks owe to their callers, as pytest classes to inherit from.

    from distpolicy.testing import TFPolicyConformance

    class TestMyPolicy(TFPolicyConformance):
        def make_policy(self):
            return MyPolicy(time_step_spec, action_spec)

pytest collects the inherited tests. A policy that fails one will fail in a collector, a checkpoint or a served model.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.draws import log_prob, sample
from distpolicy.networks.network import Network
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import array_spec, tensor_spec
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths


def random_time_step(spec: TimeStep, batch_size: int, seed: int = 0, step_type: Any = StepType.MID) -> TimeStep:
    """A batch of time steps within their specs, as arrays ``[batch_size, ...]``.

    Args:
        spec: A TimeStep of array or tensor specs.
        batch_size: B.
        seed: Seed of the observations and rewards.
        step_type: One step type, or ``[B]`` of them.
    """
    rng = np.random.default_rng(seed)
    spec = tensor_spec.to_nest_array_spec(spec)
    return TimeStep(
        step_type=np.broadcast_to(np.asarray(step_type, np.int32), (batch_size,)).copy(),
        reward=rng.normal(size=(batch_size, *spec.reward.shape)).astype(spec.reward.dtype),
        discount=np.ones((batch_size, *spec.discount.shape), spec.discount.dtype),
        observation=map_structure(lambda leaf: _random_leaf(leaf, batch_size, rng), spec.observation),
    )


def _random_leaf(spec: ArraySpec, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    shape = (batch_size, *[1 if size is None else size for size in spec.shape])
    if array_spec.is_continuous(spec):
        values = rng.normal(size=shape)
        if isinstance(spec, BoundedArraySpec):
            values = np.clip(values, spec.minimum, spec.maximum)
        return values.astype(spec.dtype)
    if isinstance(spec, BoundedArraySpec):
        low, high = spec.minimum.astype(object), spec.maximum.astype(object)
        draw = rng.integers(0, 1000, size=shape).astype(object)
        return (low + draw % (high - low + 1)).astype(spec.dtype)
    return rng.integers(0, 2, size=shape).astype(spec.dtype)


def assert_nests_close(got: Any, want: Any, tolerance: float = 1e-4) -> None:
    """Asserts that two nests of arrays or tensors are alike: structure, dtypes, shapes and, nearly, values."""
    assert paths(got) == paths(want)
    for path, left, right in zip(paths(want), flatten(got), flatten(want), strict=True):
        left, right = np.asarray(left), np.asarray(right)
        assert left.dtype == right.dtype, f"{path}: {left.dtype} instead of {right.dtype}"
        assert left.shape == right.shape, f"{path}: {left.shape} instead of {right.shape}"
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance, err_msg=path)


def _rows(nest: Any, rows: Any) -> Any:
    return map_structure(lambda leaf: np.asarray(leaf)[rows], nest)


def _row_seeds(batch_size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**31 - 1, size=(batch_size, 2), dtype=np.int32)


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
        return self._act(policy, self.time_step(policy, 7), state, _row_seeds(self.batch_size, 7)).state

    def test_step_matches_its_spec(self, policy: TFPolicy) -> None:
        step = self._act(
            policy, self.time_step(policy), policy.get_initial_state(self.batch_size), _row_seeds(self.batch_size)
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
            step = self._act(policy, self.time_step(policy, seed), state, _row_seeds(self.batch_size, seed))
            for path, leaf, spec in zip(
                paths(policy.action_spec), flatten(step.action), flatten(policy.action_spec), strict=True
            ):
                if tensor_spec.is_bounded(spec):
                    assert np.all(leaf.numpy() >= spec.minimum), path
                    assert np.all(leaf.numpy() <= spec.maximum), path

    def test_same_seed_gives_the_same_step(self, policy: TFPolicy) -> None:
        step, state = self.time_step(policy), policy.get_initial_state(self.batch_size)
        for seed in (_row_seeds(self.batch_size), np.array([3, 4], np.int32)):
            assert_nests_close(self._act(policy, step, state, seed), self._act(policy, step, state, seed), 0.0)

    def test_rows_do_not_depend_on_each_other(self, policy: TFPolicy) -> None:
        if not self.rows_are_independent:
            pytest.skip("the policy looks at the whole batch")
        step, state, seeds = self.time_step(policy), self._carried_state(policy), _row_seeds(self.batch_size)
        order = np.arange(self.batch_size)[::-1].copy()
        forward = self._act(policy, step, state, seeds)
        backward = self._act(policy, _rows(step, order), _rows(state, order), seeds[order])
        assert_nests_close(backward, _rows(forward, order), 1e-5)
        single = self._act(policy, _rows(step, slice(0, 1)), _rows(state, slice(0, 1)), seeds[:1])
        assert_nests_close(single, _rows(forward, slice(0, 1)), 1e-5)

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
        step, seeds = self.time_step(policy, step_type=step_type), _row_seeds(self.batch_size)
        carried, fresh = self._carried_state(policy), policy.get_initial_state(self.batch_size)
        mixed = self._act(policy, step, carried, seeds)
        reset = self._act(policy, step, fresh, seeds)
        assert_nests_close(_rows(mixed, slice(0, None, 2)), _rows(reset, slice(0, None, 2)), 1e-6)

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
            step, seeds = self.time_step(policy, seed, step_type), _row_seeds(self.batch_size, seed)
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
            state = eager.action(self.time_step(policy, seed), state, _row_seeds(self.batch_size, seed)).state
        # The first seed of one kind and the first of the other are alike to the compiled call.
        assert eager.tracing_count == 1

    def test_a_single_time_step_needs_no_batch_dimension(self, policy: TFPolicy) -> None:
        eager = PyTFEagerPolicy(policy)
        step = _rows(self.time_step(policy), 0)
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
            _row_seeds(self.batch_size),
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
        assert_nests_close(found.state, self._act(policy, step, state, _row_seeds(self.batch_size)).state, 1e-5)

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
        return step if self.batch_size else _rows(step, 0)

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


class RecurrentNetworkConformance:
    """What every recurrent Network owes: a sequence gives what its steps give one by one, whatever begins inside it.

    Collectors act step by step, and learners unroll ``[B, T]`` at once. A network that resets its state a step early or
    late, or not at all, learns from states that no collector ever had. Override :meth:`make_network`.

    Attributes:
        batch_size: B of the sequences that are tried.
        num_steps: T of them; 5 or more.
        tolerance: How far outputs and states may be apart.
    """

    batch_size: ClassVar[int] = 3
    num_steps: ClassVar[int] = 6
    tolerance: ClassVar[float] = 1e-5

    def make_network(self) -> Network:
        """A new network that knows the specs of its inputs; its outputs are tensors or distributions."""
        raise NotImplementedError(f"{type(self).__name__} must define make_network()")

    @pytest.fixture(name="network")
    def network_fixture(self) -> Network:
        """One network for all tests."""
        made = type(self).__dict__.get("_made")
        if made is None:
            made = self.make_network()
            made.create_variables()
            type(self)._made = made  # type: ignore[attr-defined]
        return made

    def observations(self, network: Network, num_steps: int, seed: int = 0) -> Any:
        """Inputs ``[B, num_steps, *shape]``; override if not every one within the spec will do."""
        generator = np.random.default_rng(seed)
        num = self.batch_size * num_steps
        spec = tensor_spec.to_nest_array_spec(network.input_tensor_spec)
        flat = map_structure(lambda leaf: _random_leaf(leaf, num, generator), spec)
        return map_structure(lambda leaf: leaf.reshape(self.batch_size, num_steps, *leaf.shape[1:]), flat)

    def _carried_state(self, network: Network) -> Any:
        """A state in the middle of an episode."""
        _, state = self._unroll(network, self.observations(network, 3, seed=99), self._middle(3), ())
        return state

    def _middle(self, num_steps: int) -> np.ndarray:
        return np.full((self.batch_size, num_steps), StepType.MID)

    def _unroll(self, network: Network, observation: Any, step_type: Any, state: Any) -> tuple[Any, Any]:
        tensors = tf.nest.map_structure(tf.constant, (observation, step_type))
        return network(tensors[0], step_type=tensors[1], network_state=state)

    def _drawn(self, outputs: Any) -> list[Any]:
        """For each output that is a distribution something to ask the probability of."""
        return [
            sample(item, tf.constant([7, index])) if isinstance(item, tfp.distributions.Distribution) else None
            for index, item in enumerate(flatten(outputs))
        ]

    def _values(self, outputs: Any, drawn: list[Any]) -> list[tf.Tensor]:
        pairs = zip(flatten(outputs), drawn, strict=True)
        return [item if value is None else log_prob(item, value) for item, value in pairs]

    def _assert_unroll_is_its_steps(self, network: Network, step_type: np.ndarray, seed: int = 0) -> None:
        """Compares an unroll with steps whose state is reset by hand, and with steps that reset it themselves."""
        state, observation = self._carried_state(network), self.observations(network, step_type.shape[1], seed)
        outputs, after = self._unroll(network, observation, step_type, state)
        drawn = self._drawn(outputs)
        unrolled = self._values(outputs, drawn)
        initial = network.get_initial_state(self.batch_size)
        for by_hand in (True, False):
            carried = state
            for t in range(step_type.shape[1]):
                kinds = step_type[:, t]
                if by_hand:
                    carried = _where_rows(kinds == StepType.FIRST, initial, carried)
                    kinds = np.where(kinds == StepType.FIRST, StepType.MID, kinds)
                single, carried = self._unroll(
                    network, map_structure(lambda leaf, t=t: leaf[:, t], observation), kinds, carried
                )
                values = self._values(single, [None if item is None else item[:, t] for item in drawn])
                for found, expected in zip(unrolled, values, strict=True):
                    np.testing.assert_allclose(
                        found[:, t], expected, rtol=self.tolerance, atol=self.tolerance, err_msg=f"step {t}"
                    )
            assert_nests_close(after, carried, self.tolerance)

    @pytest.mark.parametrize("seed", range(3))
    def test_sequence_equals_its_single_steps(self, network: Network, seed: int) -> None:
        generator = np.random.default_rng(seed)
        step_type = self._middle(self.num_steps)
        begins = generator.random(step_type.shape) < 0.3
        ends = np.zeros_like(begins)
        # Most episodes end before the next one begins; a slot that was replaced may begin without.
        ends[:, :-1] = begins[:, 1:] & ~begins[:, :-1] & (generator.random((self.batch_size, self.num_steps - 1)) < 0.7)
        step_type[ends] = StepType.LAST
        step_type[begins] = StepType.FIRST
        self._assert_unroll_is_its_steps(network, step_type, seed)

    @pytest.mark.parametrize("place", ["begin", "middle", "end"])
    def test_state_is_reset_at_first_and_neither_before_nor_after(self, network: Network, place: str) -> None:
        step_type = self._middle(self.num_steps)
        step_type[1:, {"begin": 0, "middle": self.num_steps // 2, "end": -1}[place]] = StepType.FIRST
        self._assert_unroll_is_its_steps(network, step_type)

    def test_state_is_carried_where_nothing_begins(self, network: Network) -> None:
        self._assert_unroll_is_its_steps(network, self._middle(self.num_steps))
        observation, carried = self.observations(network, 1), self._carried_state(network)
        outputs, _ = self._unroll(network, observation, self._middle(1), carried)
        drawn = self._drawn(outputs)
        fresh, _ = self._unroll(network, observation, self._middle(1), network.get_initial_state(self.batch_size))
        pairs = zip(self._values(outputs, drawn), self._values(fresh, drawn), strict=True)
        assert any(not np.allclose(left, right, atol=self.tolerance) for left, right in pairs)

    def test_missing_state_is_the_initial_one(self, network: Network) -> None:
        observation, step_type = self.observations(network, 2), self._middle(2)
        initial = network.get_initial_state(self.batch_size)
        _, expected = self._unroll(network, observation, step_type, initial)
        for missing in ((), None):
            assert_nests_close(self._unroll(network, observation, step_type, missing)[1], expected, 0.0)

    def test_state_matches_its_spec(self, network: Network) -> None:
        spec = network.state_spec
        assert flatten(spec), "the network has no state"
        for num_steps in (1, 2):
            _, state = self._unroll(network, self.observations(network, num_steps), self._middle(num_steps), ())
            assert paths(state) == paths(spec)
            for path, leaf, leaf_spec in zip(paths(spec), flatten(state), flatten(spec), strict=True):
                assert leaf.dtype == leaf_spec.dtype, path
                assert tuple(leaf.shape) == (self.batch_size, *leaf_spec.shape), path

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_compiled_sequence_is_the_eager_one(self, network: Network, jit_compile: bool) -> None:
        step_type = self._middle(self.num_steps)
        step_type[0, 2], step_type[-1, 0] = StepType.FIRST, StepType.FIRST
        observation, state = self.observations(network, self.num_steps), self._carried_state(network)
        outputs, after = self._unroll(network, observation, step_type, state)
        drawn = self._drawn(outputs)

        def run(observation: Any, step_type: Any, state: Any) -> Any:
            outputs, after = network(observation, step_type=step_type, network_state=state)
            return self._values(outputs, drawn), after

        tensors = tf.nest.map_structure(tf.constant, (observation, step_type))
        values, state = tf.function(run, autograph=False, jit_compile=jit_compile)(*tensors, state)
        for found, expected in zip(values, self._values(outputs, drawn), strict=True):
            np.testing.assert_allclose(found, expected, rtol=self.tolerance, atol=self.tolerance)
        assert_nests_close(state, after, self.tolerance)

    def test_no_gradient_crosses_first(self, network: Network) -> None:
        begin = self.num_steps // 2
        step_type = self._middle(self.num_steps)
        step_type[:, begin - 1], step_type[:, begin] = StepType.LAST, StepType.FIRST
        one, other = (self.observations(network, self.num_steps, seed) for seed in (0, 1))
        drawn = self._drawn(self._unroll(network, one, step_type, ())[0])
        initial, carried = network.get_initial_state(self.batch_size), self._carried_state(network)

        def gradients(steps: slice, earlier: Any, later: Any, state: Any) -> list[np.ndarray]:
            observation = map_structure(
                lambda left, right: np.concatenate([left[:, :begin], right[:, begin:]], axis=1), earlier, later
            )
            with tf.GradientTape() as tape:
                outputs, _ = self._unroll(network, observation, step_type, state)
                values = [tf.cast(value, tf.float32)[:, steps] for value in self._values(outputs, drawn)]
                loss = tf.add_n([tf.reduce_sum(tf.square(value)) for value in values])
            found = tape.gradient(loss, list(network.trainable_variables), unconnected_gradients="zero")
            return [np.asarray(gradient) for gradient in (loss, *found)]

        before, after = slice(None, begin), slice(begin, None)
        expected = gradients(before, one, one, initial)
        assert_nests_close(gradients(before, one, other, initial), expected, 1e-6)
        expected = gradients(after, one, one, initial)
        assert_nests_close(gradients(after, other, one, initial), expected, 1e-6)
        assert_nests_close(gradients(after, one, one, carried), expected, 1e-6)


def _where_rows(rows: np.ndarray, chosen: Any, other: Any) -> Any:
    """A nest ``[B, ...]`` of one in these rows, bool ``[B]``, and of another in the rest."""

    def leaf(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return tf.where(rows.reshape([-1] + [1] * (left.shape.rank - 1)), left, right)

    return tf.nest.map_structure(leaf, chosen, other)
