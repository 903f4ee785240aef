"""PolicyProgram: a policy as it travels to collectors. ProgramPolicy: acts by it, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from distpolicy.policies.action_program import ActionProgram, ActionRunner, PreparedSeed
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.compilation.array_expressions import ArrayExpression
from distpolicy.utils.compilation.litert_program import LiteRTRunner
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths
from distpolicy.utils.variables.array_variables import ArrayVariables
from distpolicy.weights import VariableLayout, WeightView


class ParameterSource(NamedTuple):
    """Where a parameter of a program comes from.

    Attributes:
        kind: ``variable`` if it is a variable as it stands, ``constant`` if it never changes, ``computed`` otherwise.
        value: The variable's path, the constant, or the place among the computed parameters.
    """

    kind: Literal["variable", "constant", "computed"]
    value: Any


@dataclass(frozen=True)
class Parameters:
    """The parameters of a policy's programs.

    Attributes:
        sources: For each program, where each of its parameters comes from.
        expression: How the computed parameters of all programs follow from the variables.
        computed: Their values for the policy's values.
    """

    sources: tuple[tuple[ParameterSource, ...], ...]
    expression: ArrayExpression
    computed: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class PolicyProgram:
    """A policy that runs without TensorFlow. It is immutable, and made where the policy is built.

    Attributes:
        name: The policy's name.
        key: Under which ``Weights`` have what TensorFlow computed for it; empty if they have nothing.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        policy_state_spec: Nest of array specs of the state.
        info_spec: Nest of array specs of the info.
        layout: What each variable is.
        values: Each variable's value by its path.
        initial_state: The state of one row before an episode.
        actions: The programs, with more and more rows.
        parameters: What the programs take beside the inputs.
    """

    name: str
    key: str
    time_step_spec: TimeStep
    action_spec: Any
    policy_state_spec: Any
    info_spec: Any
    layout: tuple[VariableLayout, ...]
    values: Mapping[str, np.ndarray]
    initial_state: Any
    actions: tuple[ActionProgram, ...]
    parameters: Parameters


# What a process takes that has to import TensorFlow, by measurement.
_TENSORFLOW_COST = "some 700 MiB and 5 s of CPU more for each collector"


@dataclass(frozen=True)
class NeedsTensorFlow:
    """Stands for the program of a policy that cannot be converted.

    Attributes:
        reason: Why it cannot be converted.
    """

    reason: str

    def __str__(self) -> str:
        return f"collectors act by TensorFlow, which takes {_TENSORFLOW_COST}: {self.reason}"


class ProgramPolicy:
    """Acts by a program. :class:`distpolicy.policies.py_tf_eager_policy.PyTFEagerPolicy` wraps it like a TFPolicy.

    A batch of any size is computed: rows are added up to the next program's number of rows, and batches larger than the
    largest program's are computed in parts. What a row gets does not depend on that.

    Args:
        program: The program.
        variables: The variables, if another policy shares them; None for the program's values.

    Raises:
        LiteRTError: If LiteRT is not installed.
    """

    observation_and_action_constraint_splitter = None

    def __init__(self, program: PolicyProgram, variables: ArrayVariables | None = None) -> None:
        self._program = program
        self._variables = ArrayVariables(program.layout, program.values) if variables is None else variables
        # Those of a policy that shares them may have moved already.
        self._version = self._variables.version if variables is None else -1
        computed = program.parameters.computed
        self._functions = [
            LiteRTRunner(action.function, values)
            for action, values in zip(program.actions, self._parameter_values(computed), strict=True)
        ]
        self._runners: dict[int, ActionRunner] = {}

    @property
    def name(self) -> str:
        """The policy's name."""
        return self._program.name

    @property
    def time_step_spec(self) -> TimeStep:
        """Array specs of one time step."""
        return self._program.time_step_spec

    @property
    def action_spec(self) -> Any:
        """Nest of array specs of one action."""
        return self._program.action_spec

    @property
    def policy_state_spec(self) -> Any:
        """Nest of array specs of the state."""
        return self._program.policy_state_spec

    @property
    def info_spec(self) -> Any:
        """Nest of array specs of the info."""
        return self._program.info_spec

    @property
    def tracing_count(self) -> int:
        """Number of times that something was traced or converted: never in this process."""
        return 0

    @property
    def array_variables(self) -> ArrayVariables:
        """The variables, for another policy to share."""
        return self._variables

    @property
    def variable_layout(self) -> tuple[VariableLayout, ...]:
        """What each variable is."""
        return self._variables.layout

    def named_variables(self) -> list[WeightView]:
        """Returns the variables with their paths, as arrays."""
        return self._variables.named()

    def variables(self) -> tuple[np.ndarray, ...]:
        """Returns copies of the variables."""
        return tuple(np.array(item.variable) for item in self._variables.named())

    def update(
        self,
        policy: Any,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> None:
        """Moves the variables towards another policy's; see ``TFPolicy.update``."""
        self._variables.update(policy, tau, tau_non_trainable, sort_variables_by_name)

    def refresh(self) -> None:
        """Copies the variables into the programs, which every action after an update does as well."""
        given = self._variables.parameters.get(self._program.key)
        computed = self._program.parameters.expression(self._variables.values) if given is None else given
        for function, values in zip(self._functions, self._parameter_values(computed), strict=True):
            function.set_parameters(values)
        self._version = self._variables.version

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        """Returns the state before an episode: ``[batch_size, ...]``, or ``[...]`` if ``batch_size`` is None."""
        if batch_size is None:
            return map_structure(np.array, self._program.initial_state)
        return map_structure(
            lambda leaf: np.repeat(leaf[np.newaxis], int(batch_size), axis=0), self._program.initial_state
        )

    def prepare_seeds(self, seeds: np.ndarray) -> Any:
        """Draws the random numbers of T coming calls at once, which is faster than in each call.

        Args:
            seeds: int32 ``[T, B, 2]``.

        Returns:
            T seeds for :meth:`__call__`.
        """
        if seeds.shape[1] > self._program.actions[-1].num_rows:
            return seeds
        return self._runner(seeds.shape[1]).prepare_seeds(seeds)

    def __call__(self, time_step: TimeStep, policy_state: Any, seed: np.ndarray | PreparedSeed) -> PolicyStep:
        """Returns the policy's step as arrays.

        Args:
            time_step: Nest of arrays ``[B, ...]``.
            policy_state: Nest of arrays ``[B, ...]``.
            seed: int32 ``[B, 2]``, or one of :meth:`prepare_seeds`.

        Raises:
            ValueError: If an array that the policy uses does not have its spec's shape.
            TypeError: If such an array does not have its spec's dtype.
        """
        if self._version != self._variables.version:
            self.refresh()
        batch_size = len(time_step.step_type)
        try:
            runner = self._runners.get(batch_size)
            if runner is None:
                largest = self._program.actions[-1].num_rows
                if batch_size > largest:
                    return self._in_parts(largest, time_step, policy_state, seed)
                runner = self._runner(batch_size)
            return runner(time_step, policy_state, seed)
        except (ValueError, TypeError, LookupError):
            # Errors of LiteRT and NumPy do not say which array is wrong; these checks do.
            _check(time_step, self.time_step_spec, "time_step", batch_size)
            _check(policy_state, self.policy_state_spec, "policy_state", batch_size)
            raise

    def _in_parts(self, size: int, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        seeds = seed.seed if isinstance(seed, PreparedSeed) else seed
        parts = []
        for first in range(0, len(seeds), size):
            rows = slice(first, first + size)
            step, state = map_structure(lambda leaf, rows=rows: np.asarray(leaf)[rows], (time_step, policy_state))
            parts.append(self(step, state, seeds[rows]))
        return map_structure(lambda *leaves: np.concatenate(leaves), *parts)

    def _runner(self, batch_size: int) -> ActionRunner:
        """Returns the runner of the smallest program with enough rows."""
        if batch_size not in self._runners:
            nest = (self.time_step_spec, self.policy_state_spec)
            place = next(i for i, action in enumerate(self._program.actions) if action.num_rows >= batch_size)
            self._runners[batch_size] = ActionRunner(
                self._program.actions[place], self._functions[place], nest, batch_size
            )
        return self._runners[batch_size]

    def _parameter_values(self, computed: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        def value(source: ParameterSource) -> np.ndarray:
            if source.kind == "variable":
                return self._variables.values[source.value]
            return source.value if source.kind == "constant" else computed[source.value]

        return [[value(source) for source in sources] for sources in self._program.parameters.sources]


def _check(value: Any, spec: Any, what: str, batch_size: int) -> None:
    """Raises an error that names the first array that does not match its spec."""
    if paths(value) != paths(spec):
        raise ValueError(f"{what}: expected the leaves {paths(spec)}, got {paths(value)}")
    for path, leaf, leaf_spec in zip(paths(spec), flatten(value), flatten(spec), strict=True):
        array = np.asarray(leaf)
        if array.dtype != leaf_spec.dtype:
            raise TypeError(f"{what}{path}: expected dtype {leaf_spec.dtype}, got {array.dtype}")
        if array.shape != (batch_size, *leaf_spec.shape):
            raise ValueError(f"{what}{path}: expected shape {(batch_size, *leaf_spec.shape)}, got {array.shape}")
