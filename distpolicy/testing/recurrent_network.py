"""Conformance of recurrent networks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.draws import log_prob, sample
from distpolicy.networks.network import Network
from distpolicy.specs import tensor_spec
from distpolicy.testing.data import assert_nests_close, random_leaf
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths


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
        flat = map_structure(lambda leaf: random_leaf(leaf, num, generator), spec)
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
                    carried = _whererows_of(kinds == StepType.FIRST, initial, carried)
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


def _whererows_of(rows: np.ndarray, chosen: Any, other: Any) -> Any:
    """A nest ``[B, ...]`` of one in these rows, bool ``[B]``, and of another in the rest."""

    def leaf(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return tf.where(rows.reshape([-1] + [1] * (left.shape.rank - 1)), left, right)

    return tf.nest.map_structure(leaf, chosen, other)
