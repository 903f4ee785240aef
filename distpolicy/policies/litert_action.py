"""LiteRTAction: a policy's action computed by LiteRT's interpreter, on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.policies.action_program import (
    ActionProgram,
    ActionRunner,
    Draw,
    PreparedSeed,
    UsedInput,
    padded_rows,
)
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.tensor_spec import is_bounded
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.compilation.litert_function import LiteRTFunction
from distpolicy.utils.compilation.litert_program import LiteRTError, LiteRTRunner
from distpolicy.utils.nest_utils import assert_matches_spec
from distpolicy.utils.nests.array_nest import flatten, paths
from distpolicy.utils.sampling.tensor_draws import generate_uniform, noise_from
from distpolicy.utils.variables.variable_watch import update_counters, watch


class LiteRTAction:
    """Converts ``policy.action`` once for each batch size, and runs the programs.

    Actions and log-probabilities equal TensorFlow's except for rounding. The programs hold a copy of the variables.
    It is renewed after every ``update`` of a policy with these variables, after its agent's ``train``, ``explore`` and
    ``initialize``, after updates of its normaliser and after restored checkpoints. Updates of policies inside compiled
    functions count, too. After other changes call :meth:`refresh`.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: TFPolicy) -> None:
        self._policy = policy
        self._converted: list[tuple[ConvertedAction, LiteRTRunner]] = []
        self._runners: dict[tuple[int, ...], ActionRunner] = {}
        self.stale = False
        self.tracing_count = 0
        # Searching through the policy's layers takes longer than an action.
        self._variables = list(policy.variables())
        watch(self._variables, self)
        self._counters = update_counters(self._variables)
        self._num_updates = self._counted()

    def refresh(self) -> None:
        """Copies the present values of the policy's variables."""
        self.stale = False
        self._counters = update_counters(self._variables)
        self._num_updates = self._counted()
        for converted, runner in self._converted:
            runner.set_parameters(converted.function.parameter_values())

    def prepare_seeds(self, seeds: np.ndarray) -> Any:
        """Draws the random numbers of T coming calls at once, which is faster than in each call.

        Args:
            seeds: int32 ``[T, B, 2]``.

        Returns:
            T seeds for :meth:`__call__`. They are unchanged if this batch size has not been converted yet.
        """
        runner = self._runners.get((seeds.shape[1],))
        return seeds if runner is None else runner.prepare_seeds(seeds)

    def __call__(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray | PreparedSeed) -> PolicyStep:
        """Returns the policy's step as NumPy arrays.

        Args:
            time_step: Nest of arrays ``[B, ...]``.
            policy_state: Nest of arrays or tensors ``[B, ...]``.
            seed: int32 ``[B, 2]``, or one of :meth:`prepare_seeds`.

        Raises:
            LiteRTError: If the policy cannot be converted. The message says why.
            ValueError: If an array that the policy uses does not have its spec's shape.
            TypeError: If such an array does not have its spec's dtype.
        """
        runner = self._runners.get(time_step.step_type.shape)
        if runner is None:
            runner = self._runners[time_step.step_type.shape] = self._convert(time_step, policy_state)
        if self.stale or (self._counters and self._counted() != self._num_updates):
            self.refresh()
        try:
            return runner(time_step, policy_state, seed)
        except (ValueError, TypeError, LookupError):
            # Errors of LiteRT and NumPy do not say which array is wrong; these checks do.
            assert_matches_spec(time_step, self._policy.time_step_spec, "time_step", 1)
            assert_matches_spec(policy_state, self._policy.policy_state_spec, "policy_state", 1)
            raise

    def _counted(self) -> int:
        """Returns how often compiled functions have updated the variables."""
        return sum(int(counter.numpy()) for counter in self._counters)

    def _convert(self, time_step: TimeStep, policy_state: Any) -> ActionRunner:
        converted = ConvertedAction(self._policy, time_step, policy_state)
        runner = LiteRTRunner(converted.program.function, converted.function.parameter_values())
        self._converted.append((converted, runner))
        self.tracing_count += 1
        return ActionRunner(converted.program, runner, (time_step, policy_state), len(time_step.step_type))


_OTHER_DRAWS = (
    "it draws from its seed without distpolicy.utils.sampling.tensor_draws; use that module's functions, or, if an "
    "earlier version saved the policy, save the policy again"
)


class ConvertedAction:
    """A policy's action as a program, and the function that it was made from.

    Args:
        policy: The policy.
        time_step: Nest of arrays ``[B, ...]``, an example.
        policy_state: Nest of arrays or tensors ``[B, ...]``, an example.

    Raises:
        LiteRTError: If the policy cannot be converted. The message says why.

    Attributes:
        program: The program, for the next multiple of ``LANES`` rows.
        function: Gives the values of the program's parameters.
    """

    def __init__(self, policy: TFPolicy, time_step: TimeStep, policy_state: Any) -> None:
        num_rows = padded_rows(len(time_step.step_type))
        seed = np.random.default_rng(1).integers(2**31, size=(num_rows, 2), dtype=np.int32)
        inputs = tf.nest.map_structure(lambda leaf: _like_given(leaf, num_rows), (time_step, policy_state))
        step, draws = record_draws(policy, inputs, seed)
        places: list[PolicyStep] = []
        num_leaves = len(flatten(inputs))

        def flat_action(*leaves: tf.Tensor) -> list[tf.Tensor]:
            noise = iter(leaves[num_leaves:-1])
            with noise_from(lambda seed, num: next(noise)):
                given = tf.nest.pack_sequence_as(inputs, leaves[:num_leaves])
                # The seed is an input too. A draw that does not use the noise would turn a fixed seed into a constant;
                # LiteRTFunction finds it instead.
                step = policy.action(given[0], given[1], leaves[-1])
            places.append(tf.nest.pack_sequence_as(step, list(range(len(tf.nest.flatten(step))))))
            return [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(step)]

        specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in flatten(inputs)]
        specs += [tf.TensorSpec((num_rows, draw.num), tf.float32) for draw in draws]
        specs.append(tf.TensorSpec(seed.shape, tf.int32))
        self.function = LiteRTFunction(flat_action, specs, {len(specs) - 1: _OTHER_DRAWS})
        used = [
            UsedInput(place, tuple(specs[place].shape), np.dtype(specs[place].dtype.as_numpy_dtype))
            for place in self.function.needed_inputs
            if place < num_leaves
        ]
        self.program = ActionProgram(num_rows, self.function.program, tuple(draws), tuple(used), num_leaves, places[-1])
        _check_alike(step, self.function([*flatten(inputs), *self.program.noise(seed), seed]), policy.action_spec)


def record_draws(policy: TFPolicy, inputs: Any, seed: np.ndarray) -> tuple[PolicyStep, list[Draw]]:
    """Returns TensorFlow's step for these inputs, and the draws that it made."""

    def run(seed: np.ndarray) -> tuple[PolicyStep, list[tuple[np.ndarray, int]]]:
        asked: list[tuple[np.ndarray, int]] = []

        def source(asked_seed: tf.Tensor, num: int) -> tf.Tensor:
            asked.append((asked_seed.numpy(), num))
            return generate_uniform(asked_seed, num)

        tensors = tf.nest.map_structure(tf.constant, inputs)
        with noise_from(source):
            step = policy.action(tensors[0], tensors[1], tf.constant(seed))
        return step, asked

    step, asked = run(seed)
    other_seed = np.random.default_rng(0).integers(2**31, size=seed.shape, dtype=np.int32)
    draws = []
    for (first, num), (second, _) in zip(asked, run(other_seed)[1], strict=True):
        offset = first - seed
        if not (np.array_equal(offset, second - other_seed) and (offset == offset[:1]).all()):
            raise LiteRTError("it mixes the rows' seeds before it draws")
        draws.append(Draw(offset[0].copy() if offset.any() else None, num))
    return step, draws


def _like_given(leaf: Any, num_rows: int) -> np.ndarray:
    """Returns an input to test the program with, ``[num_rows, ...]``: varied floats, or the given rows repeated."""
    array = np.asarray(leaf)
    shape = (num_rows, *array.shape[1:])
    if np.issubdtype(array.dtype, np.floating):
        return np.random.default_rng(0).normal(size=shape).astype(array.dtype)
    # Where no row is given, ones: a mask of them allows every action.
    return np.resize(array, shape) if len(array) else np.ones(shape, array.dtype)


def _check_alike(expected: PolicyStep, outputs: list[np.ndarray], action_spec: Any) -> None:
    """Raises LiteRTError if the program's outputs differ from TensorFlow's."""
    at_bounds = _rows_at_bounds(expected.action, action_spec)
    for path, want, got in zip(paths(expected), tf.nest.flatten(expected), outputs, strict=True):
        want = np.asarray(want)
        if want.shape != got.shape or want.dtype != got.dtype:
            raise LiteRTError(f"it returns {got.dtype}{got.shape} where TensorFlow returns {want.dtype}{want.shape}")
        close = np.isclose(want, got, rtol=1e-3, atol=1e-4, equal_nan=True)
        if path.startswith("/info"):
            close[at_bounds] = True
        # Where two actions are almost equally good, rounding may pick the other one. This is rare.
        if np.mean(~close) > 0.01:
            raise LiteRTError("its outputs differ from TensorFlow's")


def _rows_at_bounds(action: Any, action_spec: Any) -> np.ndarray:
    """Returns in which rows an action is almost at a bound, bool ``[B]``.

    There tanh is flat, so that the last bit of an action decides on its log-probability.
    """
    leaves = [np.asarray(leaf, np.float64) for leaf in tf.nest.flatten(action)]
    found = np.zeros(len(leaves[0]), np.bool_)
    for leaf, spec in zip(leaves, tf.nest.flatten(action_spec), strict=True):
        if is_bounded(spec) and spec.dtype.is_floating:
            low, high = (np.asarray(bound, np.float64) for bound in (spec.minimum, spec.maximum))
            margin = 0.01 * np.where(np.isfinite(high - low), high - low, 0.0)
            is_near = (leaf <= low + margin) | (leaf >= high - margin)
            found |= np.any(is_near, axis=tuple(range(1, leaf.ndim)))
    return found
