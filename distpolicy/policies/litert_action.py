"""LiteRTAction: a policy's action computed by LiteRT's interpreter, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.compilation.litert_function import LiteRTError, LiteRTFunction
from distpolicy.utils.nest_utils import assert_matches_spec
from distpolicy.utils.nests.array_nest import flatten, getters, packer
from distpolicy.utils.sampling.array_draws import row_uniform
from distpolicy.utils.sampling.tensor_draws import generate_uniform, noise_from
from distpolicy.utils.variables.variable_watch import watch

# Batches are padded to a multiple of this many rows, the width of vector instructions. Remaining rows would be computed
# by other instructions with other rounding, but a row's result must not depend on the size of its batch.
LANES = 8


class PreparedSeed(NamedTuple):
    """The seed of a call with the random numbers drawn from it.

    Attributes:
        seed: int32 ``[B, 2]``.
        noise: For each draw, float32 ``[B, num]``.
    """

    seed: np.ndarray
    noise: list[np.ndarray]


class _Draw(NamedTuple):
    """Random numbers that the policy asks for in each call.

    Attributes:
        offset: What the draw adds to a row's seed, int32 ``[2]``; None for nothing.
        num: Number of random numbers for each row.
    """

    offset: np.ndarray | None
    num: int


class _Program(NamedTuple):
    """The program for one number of rows.

    Attributes:
        function: Takes the leaves of the time step and the state, then the random numbers of each draw.
        draws: The draws of one call, in order.
        inputs: For each leaf that the policy uses, its place among the function's inputs and a getter that takes it out
            of ``(time_step, policy_state)``.
        num_inputs: Number of inputs before the random numbers.
        padded: For each used input, its place, an array with rows added up to a multiple of ``LANES``, and a view of
            the rows to fill. None if the batch needs no padding.
        pack: Packs the flat outputs into a PolicyStep.
    """

    function: LiteRTFunction
    draws: list[_Draw]
    inputs: list[tuple[int, Callable[[Any], Any]]]
    num_inputs: int
    padded: list[tuple[int, np.ndarray, np.ndarray]] | None
    pack: Callable[[Sequence[Any]], PolicyStep]


class LiteRTAction:
    """Converts ``policy.action`` once for each batch size. A call adds a few microseconds to the arithmetic.

    The program takes the uniform numbers for every draw as inputs. They are generated here, in NumPy, from the same
    seeds and by the same generator as in TensorFlow. Actions and log-probabilities therefore equal TensorFlow's except
    for rounding. The program holds a copy of the variables. Every ``update`` of a policy with these variables renews
    the copy, and so does :meth:`refresh`.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: TFPolicy) -> None:
        self._policy = policy
        self._programs: dict[tuple[int, ...], _Program] = {}
        self.stale = False
        self.tracing_count = 0
        watch(policy.variables(), self)

    def refresh(self) -> None:
        """Copies the present values of the policy's variables."""
        self.stale = False
        for program in self._programs.values():
            program.function.refresh()

    def prepare_seeds(self, seeds: np.ndarray) -> Any:
        """Draws the random numbers of T coming calls at once, which is faster than in each call.

        Args:
            seeds: int32 ``[T, B, 2]``.

        Returns:
            T seeds for :meth:`__call__`. They are unchanged if this batch size has not been converted yet.
        """
        program = self._programs.get((seeds.shape[1],))
        if program is None:
            return seeds
        flat = seeds.reshape(-1, 2)
        noise = [part.reshape(*seeds.shape[:2], -1) for part in _noise(flat, program.draws)]
        return [PreparedSeed(seed, [part[t] for part in noise]) for t, seed in enumerate(seeds)]

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
        noise: list[np.ndarray] | None = None
        if isinstance(seed, PreparedSeed):
            noise = seed.noise
            seed = seed.seed
        program = self._programs.get(time_step.step_type.shape)
        if program is None:
            program = self._programs[time_step.step_type.shape] = self._convert(time_step, policy_state, seed)
        if self.stale:
            self.refresh()
        leaves: list[Any] = [None] * program.num_inputs
        leaves += _noise(seed, program.draws) if noise is None else noise
        nest = (time_step, policy_state)
        try:
            for place, get in program.inputs:
                leaves[place] = get(nest)
            if program.padded is None:
                return program.pack(program.function(leaves))
            num_rows = len(seed)
            for place, array, rows in program.padded:
                np.copyto(rows, leaves[place], "equiv")
                leaves[place] = array
            return program.pack([output[:num_rows] for output in program.function(leaves)])
        except (ValueError, TypeError, LookupError):
            # Errors of LiteRT and NumPy do not say which array is wrong; these checks do.
            assert_matches_spec(time_step, self._policy.time_step_spec, "time_step", 1)
            assert_matches_spec(policy_state, self._policy.policy_state_spec, "policy_state", 1)
            raise

    def _convert(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray) -> _Program:
        num_rows = -(-len(seed) // LANES) * LANES
        seed = np.resize(seed, (num_rows, 2))
        inputs = tf.nest.map_structure(lambda leaf: _like_given(leaf, num_rows), (time_step, policy_state))
        step, draws = self._record(inputs, seed)
        places: list[PolicyStep] = []
        num_leaves = len(flatten(inputs))

        def flat_action(*leaves: tf.Tensor) -> list[tf.Tensor]:
            noise = iter(leaves[num_leaves:-1])
            with noise_from(lambda seed, num: next(noise)):
                given = tf.nest.pack_sequence_as(inputs, leaves[:num_leaves])
                # The seed is an input too. A draw that does not use the noise would turn a fixed seed into a constant;
                # the check of needed_inputs below finds it instead.
                step = self._policy.action(given[0], given[1], leaves[-1])
            places.append(tf.nest.pack_sequence_as(step, list(range(len(tf.nest.flatten(step))))))
            return [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(step)]

        specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in flatten(inputs)]
        specs += [tf.TensorSpec((num_rows, draw.num), tf.float32) for draw in draws]
        specs.append(tf.TensorSpec(seed.shape, tf.int32))
        function = LiteRTFunction(flat_action, specs)
        if len(specs) - 1 in function.needed_inputs:
            raise LiteRTError(
                "it draws from its seed without distpolicy.utils.sampling.tensor_draws; use that module's functions"
            )
        self.tracing_count += 1
        _check_alike(step, function([*flatten(inputs), *_noise(seed, draws), seed]))
        padded = None
        num_given = len(time_step.step_type)
        if num_given != num_rows:
            arrays = [(i, np.zeros(specs[i].shape, specs[i].dtype.as_numpy_dtype)) for i in function.needed_inputs]
            padded = [(i, array, array[:num_given]) for i, array in arrays]
        get = getters((time_step, policy_state))
        used = [(place, get[place]) for place in function.needed_inputs if place < num_leaves]
        return _Program(function, draws, used, num_leaves, padded, packer(places[-1]))

    def _record(self, inputs: Any, seed: np.ndarray) -> tuple[PolicyStep, list[_Draw]]:
        """Returns TensorFlow's step for these inputs, and the draws that it made."""

        def run(seed: np.ndarray) -> tuple[PolicyStep, list[tuple[np.ndarray, int]]]:
            asked: list[tuple[np.ndarray, int]] = []

            def source(asked_seed: tf.Tensor, num: int) -> tf.Tensor:
                asked.append((asked_seed.numpy(), num))
                return generate_uniform(asked_seed, num)

            tensors = tf.nest.map_structure(tf.constant, inputs)
            with noise_from(source):
                step = self._policy.action(tensors[0], tensors[1], tf.constant(seed))
            return step, asked

        step, asked = run(seed)
        other_seed = np.random.default_rng(0).integers(2**31, size=seed.shape, dtype=np.int32)
        draws = []
        for (first, num), (second, _) in zip(asked, run(other_seed)[1], strict=True):
            offset = first - seed
            if not (np.array_equal(offset, second - other_seed) and (offset == offset[:1]).all()):
                raise LiteRTError("it mixes the rows' seeds before it draws")
            draws.append(_Draw(offset[0].copy() if offset.any() else None, num))
        return step, draws


def _noise(seed: np.ndarray, draws: list[_Draw]) -> list[np.ndarray]:
    return [row_uniform(seed if offset is None else seed + offset, num) for offset, num in draws]


def _like_given(leaf: Any, num_rows: int) -> np.ndarray:
    """Returns an input to test the program with, ``[num_rows, ...]``: varied floats, or the given rows repeated."""
    array = np.asarray(leaf)
    shape = (num_rows, *array.shape[1:])
    if np.issubdtype(array.dtype, np.floating):
        return np.random.default_rng(0).normal(size=shape).astype(array.dtype)
    return np.resize(array, shape)


def _check_alike(expected: PolicyStep, outputs: list[np.ndarray]) -> None:
    """Raises LiteRTError if the program's outputs differ from TensorFlow's."""
    for want, got in zip(tf.nest.flatten(expected), outputs, strict=True):
        want = np.asarray(want)
        if want.shape != got.shape or want.dtype != got.dtype:
            raise LiteRTError(f"it returns {got.dtype}{got.shape} where TensorFlow returns {want.dtype}{want.shape}")
        close = np.isclose(want, got, rtol=1e-3, atol=1e-4, equal_nan=True)
        # Where two actions are almost equally good, rounding may pick the other one. This is rare.
        if np.mean(~close) > 0.01:
            raise LiteRTError("its outputs differ from TensorFlow's")
