"""ActionProgram: a policy's action as a LiteRT program, which runs without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.compilation.litert_program import LiteRTProgram, LiteRTRunner
from distpolicy.utils.nests.array_nest import getters, map_structure, packer
from distpolicy.utils.sampling.array_draws import row_uniform

# Batches are padded to a multiple of this many rows, the width of vector instructions. Remaining rows would be computed
# by other instructions with other rounding, but a row's result must not depend on the size of its batch.
LANES = 8


def padded_rows(num_rows: int) -> int:
    """Returns the number of rows of the program for a batch: the next multiple of ``LANES``, which is above 0."""
    return -(-max(num_rows, 1) // LANES) * LANES


def example_steps(time_step_spec: TimeStep, batch_size: int) -> TimeStep:
    """Returns first time steps that any policy takes: a mask among the observations allows every action.

    Args:
        time_step_spec: Array specs of one time step.
        batch_size: B, the number of rows.

    Returns:
        Nest of arrays ``[B, ...]``.
    """

    zeros = map_structure(lambda spec: np.zeros((batch_size, *spec.shape), spec.dtype), time_step_spec)

    def allowing(spec: ArraySpec, array: np.ndarray) -> np.ndarray:
        if np.issubdtype(spec.dtype, np.floating):
            return array
        ones = np.ones_like(array)
        return np.clip(ones, spec.minimum, spec.maximum) if isinstance(spec, BoundedArraySpec) else ones

    return zeros._replace(observation=map_structure(allowing, time_step_spec.observation, zeros.observation))


class PreparedSeed(NamedTuple):
    """The seed of a call with the random numbers drawn from it.

    Attributes:
        seed: int32 ``[B, 2]``.
        noise: For each draw, float32 ``[B, num]``.
    """

    seed: np.ndarray
    noise: list[np.ndarray]


class Draw(NamedTuple):
    """Random numbers that a policy asks for in each call.

    Attributes:
        offset: What the draw adds to a row's seed, int32 ``[2]``; None for nothing.
        num: Number of random numbers for each row.
    """

    offset: np.ndarray | None
    num: int


class UsedInput(NamedTuple):
    """An array that a policy's action depends on.

    Attributes:
        place: Its place among the leaves of ``(time_step, policy_state)``.
        shape: Its shape in the program.
        dtype: Its dtype.
    """

    place: int
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class ActionProgram:
    """A policy's action for one number of rows.

    The program takes the uniform numbers for every draw as inputs. They are generated in NumPy, from the same seeds and
    by the same generator as in TensorFlow.

    Attributes:
        num_rows: The number of rows, a multiple of ``LANES``.
        function: Takes the leaves of the time step and the state, then the random numbers of each draw.
        draws: The draws of one call, in order.
        used: The arrays that the action depends on.
        num_leaves: Number of leaves of the time step and the state.
        structure: A PolicyStep in which each leaf is its place among the outputs.
    """

    num_rows: int
    function: LiteRTProgram
    draws: tuple[Draw, ...]
    used: tuple[UsedInput, ...]
    num_leaves: int
    structure: PolicyStep

    def noise(self, seed: np.ndarray) -> list[np.ndarray]:
        """Draws the random numbers of one call.

        Args:
            seed: int32 ``[B, 2]``.

        Returns:
            For each draw, float32 ``[B, num]``.
        """
        return [row_uniform(seed if draw.offset is None else seed + draw.offset, draw.num) for draw in self.draws]


class ActionRunner:
    """Runs a program for batches of one size. A call adds a few microseconds to the arithmetic.

    Args:
        program: The program. It must have at least as many rows as the batches.
        runner: Runs the program's function; several batch sizes may share it.
        nest: A nest like ``(time_step, policy_state)``.
        batch_size: B, the number of rows of the batches.
    """

    def __init__(self, program: ActionProgram, runner: LiteRTRunner, nest: Any, batch_size: int) -> None:
        self._program, self._runner, self._batch_size = program, runner, batch_size
        noise = tuple(range(len(program.draws)))
        # Out of (time_step, policy_state, noise), in the order of the function's inputs.
        get = getters((*nest, noise))
        needed = program.function.needed_inputs
        self._inputs: list[tuple[int, Callable[[Any], Any]]] = [(place, get[place]) for place in needed]
        self._direct = [get[place] for place in program.function.read_inputs] if runner.is_direct else None
        # For each needed input an array with rows added, and a view of the rows to fill. None without added rows.
        self._padded: list[tuple[int, np.ndarray, np.ndarray]] | None = None
        if batch_size != program.num_rows:
            kinds = {item.place: (item.shape, item.dtype) for item in program.used}
            for place, draw in enumerate(program.draws):
                kinds[program.num_leaves + place] = ((program.num_rows, draw.num), np.dtype(np.float32))
            arrays = [(place, np.zeros(*kinds[place])) for place in needed]
            self._padded = [(place, array, array[:batch_size]) for place, array in arrays]
        self._pack: Callable[[Sequence[Any]], PolicyStep] = packer(program.structure)

    def prepare_seeds(self, seeds: np.ndarray) -> list[PreparedSeed]:
        """Draws the random numbers of T calls at once, which is faster than in each call.

        Args:
            seeds: int32 ``[T, B, 2]``.
        """
        drawn = self._program.noise(seeds.reshape(-1, 2))
        noise = [
            part.reshape(*seeds.shape[:2], draw.num) for part, draw in zip(drawn, self._program.draws, strict=True)
        ]
        return [PreparedSeed(seed, [part[t] for part in noise]) for t, seed in enumerate(seeds)]

    def __call__(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray | PreparedSeed) -> PolicyStep:
        """Returns the policy's step as arrays.

        Args:
            time_step: Nest of arrays ``[B, ...]``.
            policy_state: Nest of arrays or tensors ``[B, ...]``.
            seed: int32 ``[B, 2]``, or one of :meth:`prepare_seeds`.

        Raises:
            ValueError: If an array that the policy uses does not have the program's shape.
            TypeError: If such an array does not have the program's dtype.
        """
        program = self._program
        noise = seed.noise if isinstance(seed, PreparedSeed) else program.noise(seed)
        nest = (time_step, policy_state, noise)
        if self._padded is None and self._direct is not None:
            return self._pack(self._runner.run([get(nest) for get in self._direct]))
        leaves: list[Any] = [None] * (program.num_leaves + len(program.draws))
        for place, get in self._inputs:
            leaves[place] = get(nest)
        if self._padded is None:
            return self._pack(self._runner(leaves))
        batch_size = self._batch_size
        for place, array, rows in self._padded:
            if leaves[place].shape != rows.shape:
                raise ValueError(f"expected {rows.shape}, got {leaves[place].shape}")
            np.copyto(rows, leaves[place], "equiv")
            leaves[place] = array
        return self._pack([output[:batch_size] for output in self._runner(leaves)])
