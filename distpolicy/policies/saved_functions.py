"""SavedFunctions: the functions of a policy that PolicySaver saves, traced for each way to call them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.distributions.distribution_coding import encode_distribution
from distpolicy.policies.action_program import Draw
from distpolicy.policies.draw_recorder import DrawRecorder
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import flatten
from distpolicy.utils.sampling.tensor_draws import noise_from

SEED_SPEC = tf.TensorSpec([2], tf.int32, "seed")
BATCH_SIZE_SPEC = tf.TensorSpec([], tf.int32, "batch_size")

_logger = logging.getLogger(__name__)


class SavedFunctions:
    """``action``, ``distribution`` and ``get_initial_state`` of a policy, traced.

    Args:
        policy: The policy.
        input_specs: Named specs of the inputs of ``action`` except the seed, without batch dimension.
        batch_size: The batch size, or None for an open one.
        seed: Seed of the random stream for calls without a seed; None for one from the system.
        input_fn: Function from a single input to ``(time_step, policy_state)``; None if these two are the inputs.

    Attributes:
        input_specs: The input specs with their batch dimension.
        action: Takes the inputs and a seed. The state may be left out.
        action_from_noise: Takes the inputs, the uniform numbers of each draw, and the rows' seeds. It does the same as
            ``action``, for engines that draw the numbers themselves. None if the policy does not draw, or not from its
            rows' seeds by ``distpolicy.utils.sampling.tensor_draws``.
        draws: The draws whose numbers ``action_from_noise`` takes.
        distribution: Takes the inputs. None if the policy does not have a distribution that can be saved.
        distributions: For each action, how to rebuild its distribution from what ``distribution`` returns, or None.
        get_initial_state: Takes the batch size, which may be left out if it is fixed.
        resources: Handles of all variables, tables and other resources that the functions use.
    """

    def __init__(
        self,
        policy: TFPolicy,
        input_specs: tuple[Any, ...],
        batch_size: int | None,
        seed: int | None,
        input_fn: Callable[[Any], tuple[TimeStep, Any]] | None,
    ) -> None:
        self._policy = policy
        self._batch_size = batch_size
        self._input_fn = input_fn
        self._has_state = bool(tf.nest.flatten(policy.policy_state_spec))
        self.input_specs: tuple[Any, ...] = with_outer_dims(input_specs, [batch_size])
        self.resources: list[Any] = []
        self.distributions: list[dict[str, Any]] | None = None
        self.draws: tuple[Draw, ...] | None = None
        self.action = self._make_action(seed)
        self.action_from_noise = self._make_action_from_noise() if self.draws and input_fn is None else None
        self.distribution = self._make_distribution()
        self.get_initial_state = self._make_get_initial_state()

    def _make_action(self, sequence_seed: int | None) -> Any:
        def seeded(inputs: Any, seed: Any) -> PolicyStep:
            recorder = DrawRecorder(seed)
            with noise_from(recorder):
                step = self._policy.action(*self._time_step_and_state(inputs), seed)
            if seed.shape.rank == 2:
                self.draws = recorder.draws
            return step

        # The policy is traced once for each kind of seed and state. The signatures below share these traces.
        seeded_function = tf.function(seeded, autograph=False)

        def draw(inputs: Any, seed: Any) -> Any:
            if seed is None:
                seed = tf.random.uniform([2], maxval=np.iinfo(np.int32).max, dtype=tf.int32, seed=sequence_seed)
            return seeded_function(inputs, seed)

        def action(time_step: TimeStep, policy_state: Any = (), seed: Any = None) -> Any:
            return draw((time_step, policy_state), seed)

        def action_of_example(example: Any, seed: Any = None) -> Any:
            return draw((example,), seed)

        function = action if self._input_fn is None else action_of_example
        return self._traced(function, ({}, {"seed": SEED_SPEC}, {"seed": self._row_seeds_spec}))

    @property
    def _row_seeds_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([self._batch_size, 2], tf.int32, "seed")

    def _make_action_from_noise(self) -> Any:
        def action_from_noise(time_step: TimeStep, policy_state: Any, noise: tuple[tf.Tensor, ...], seed: Any) -> Any:
            given = iter(noise)
            with noise_from(lambda seed, num: next(given)):
                return self._policy.action(*self._time_step_and_state((time_step, policy_state)), seed)

        traced = tf.function(action_from_noise, autograph=False)
        noise_specs = tuple(
            tf.TensorSpec([self._batch_size, draw.num], tf.float32, f"noise_{place}")
            for place, draw in enumerate(self.draws or ())
        )
        self._note_resources(traced.get_concrete_function(*self.input_specs, noise_specs, self._row_seeds_spec))
        return traced

    def _make_distribution(self) -> Any:
        def parameters(inputs: Any) -> PolicyStep:
            step = self._policy.distribution(*self._time_step_and_state(inputs))
            coded = [encode_distribution(item) for item in flatten(step.action)]
            self.distributions = [description for description, _ in coded]
            tensors = [tensors for _, tensors in coded]
            return step._replace(action=tf.nest.pack_sequence_as(self._policy.action_spec, tensors))

        def distribution(time_step: TimeStep, policy_state: Any = ()) -> Any:
            return parameters((time_step, policy_state))

        def distribution_of_example(example: Any) -> Any:
            return parameters((example,))

        try:
            return self._traced(distribution if self._input_fn is None else distribution_of_example, ({},))
        except (NotImplementedError, TypeError) as error:
            # Some policies have no distribution, or one of a class that a loader does not know.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            _logger.warning("%s is saved without distribution(): %s", self._policy.name, reason)
            return None

    def _make_get_initial_state(self) -> Any:
        policy, fixed = self._policy, self._batch_size

        def get_initial_state(batch_size: Any) -> Any:
            return policy.get_initial_state(batch_size)

        def get_fixed_initial_state(batch_size: Any = fixed) -> Any:
            message = f"{policy.name} was saved for batches of {fixed}; pass that as batch_size"
            with tf.control_dependencies([tf.debugging.assert_equal(batch_size, fixed, message)]):
                return tf.nest.map_structure(tf.identity, policy.get_initial_state(fixed))

        if fixed is None:
            traced = tf.function(get_initial_state, autograph=False)
        else:
            traced = tf.function(get_fixed_initial_state, autograph=False)
            traced.get_concrete_function()
        self._note_resources(traced.get_concrete_function(BATCH_SIZE_SPEC))
        return traced

    def _traced(self, function: Callable[..., Any], keywords: Sequence[dict[str, Any]]) -> Any:
        """Returns a tf.function traced for each set of keywords, with and without the policy state."""
        traced = tf.function(function, autograph=False)
        forms = [self.input_specs] if self._input_fn is not None else [self.input_specs, self.input_specs[:1]]
        for form in forms:
            for keyword in keywords:
                self._note_resources(traced.get_concrete_function(*form, **keyword))
        return traced

    def _note_resources(self, concrete: Any) -> None:
        self.resources += [item for item in concrete.captured_inputs if item.dtype == tf.resource]

    def _time_step_and_state(self, inputs: Any) -> tuple[TimeStep, Any]:
        if self._input_fn is not None:
            inputs = self._input_fn(*inputs)
        time_step, policy_state = inputs
        time_step = TimeStep(*time_step)
        if not self._has_state or tf.nest.flatten(policy_state):
            return time_step, policy_state
        message = f"{self._policy.name} is stateful; pass the state that the last call returned, or get_initial_state()"
        with tf.control_dependencies([tf.debugging.assert_equal(time_step.step_type, StepType.FIRST, message)]):
            batch_size = tf.identity(tf.shape(time_step.step_type)[0])
        return time_step, self._policy.get_initial_state(self._batch_size or batch_size)


def with_outer_dims(nest: Any, outer_dims: Sequence[int | None]) -> Any:
    """Returns the specs with outer dimensions added, and without bounds, since signatures cannot hold bounds."""
    return tf.nest.map_structure(lambda spec: tf.TensorSpec([*outer_dims, *spec.shape], spec.dtype, spec.name), nest)
