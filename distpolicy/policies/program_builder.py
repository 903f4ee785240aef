"""ProgramBuilder: turns a TFPolicy into a program that runs without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.policies.action_program import example_steps, padded_rows
from distpolicy.policies.litert_action import ConvertedAction
from distpolicy.policies.policy_program import Parameters, ParameterSource, PolicyProgram
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.utils.compilation.array_expressions import ArrayExpression, ArrayOperation
from distpolicy.utils.compilation.litert_program import LiteRTError
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.weights import make_layout


class ProgramBuilder:
    """Converts a policy for some batch sizes.

    Args:
        policy: The policy.
        batch_sizes: The sizes of the batches that it will act for. Others work as well, but are slower.
        key: The key of the program's parameters in ``Weights``.
        owner: The policy whose variables the program names, if it shares them; None for the policy itself.

    Raises:
        LiteRTError: If the policy cannot be converted. The message says why.

    Attributes:
        program: The program.
    """

    def __init__(
        self, policy: TFPolicy, batch_sizes: Sequence[int], key: str = "", owner: TFPolicy | None = None
    ) -> None:
        self._policy = policy
        named = (policy if owner is None else owner).named_variables()
        paths = {id(item.variable.handle): item.path for item in named}
        sizes = sorted({padded_rows(size) for size in batch_sizes})
        time_step_spec = tensor_spec.to_nest_array_spec(policy.time_step_spec)
        self._converted = [ConvertedAction(policy, *self._example(time_step_spec, size)) for size in sizes]
        expressions = [item.function.parameter_expression(paths) for item in self._converted]
        parameters = self._parameters(expressions)
        self.program = PolicyProgram(
            policy.name,
            key,
            time_step_spec,
            tensor_spec.to_nest_array_spec(policy.action_spec),
            tensor_spec.to_nest_array_spec(policy.policy_state_spec),
            tensor_spec.to_nest_array_spec(policy.info_spec),
            make_layout(named),
            {item.path: item.variable.numpy() for item in named},
            self._initial_state(),
            tuple(item.program for item in self._converted),
            parameters,
        )
        self._check_expression()

    def computed_parameters(self) -> list[np.ndarray]:
        """Returns the computed parameters for the present values of the policy's variables, by TensorFlow."""
        found: list[np.ndarray] = []
        for converted, places in zip(self._converted, self._computed_places, strict=True):
            if places:
                found += converted.function.parameter_values(places)
        return found

    def _example(self, time_step_spec: Any, size: int) -> tuple[Any, Any]:
        return example_steps(time_step_spec, size), self._policy.get_initial_state(size)

    def _initial_state(self) -> Any:
        """Returns the initial state of one row, the same for all rows."""
        state = map_structure(np.asarray, self._policy.get_initial_state(2))
        for leaf in tf.nest.flatten(state):
            if not np.array_equal(leaf[0], leaf[1]):
                raise LiteRTError("the initial state of a row depends on its place in the batch")
        return map_structure(lambda leaf: leaf[0].copy(), state)

    def _parameters(self, expressions: Sequence[ArrayExpression]) -> Parameters:
        """Returns the parameters of all programs. Those that are computed are one expression."""
        operations: list[ArrayOperation] = []
        results: list[tuple[int, int]] = []
        all_sources: list[tuple[ParameterSource, ...]] = []
        self._computed_places: list[list[int]] = []
        for expression in expressions:
            shift = len(operations)
            sources, places = [], []
            for place, (index, output) in enumerate(expression.results):
                path = _variable(expression, index)
                if path is not None:
                    sources.append(ParameterSource("variable", path))
                elif expression.operations[index].kind == "Const":
                    sources.append(ParameterSource("constant", expression.operations[index].value))
                else:
                    sources.append(ParameterSource("computed", len(results)))
                    results.append((shift + index, output))
                    places.append(place)
            if places:
                operations += [
                    ArrayOperation(
                        item.kind,
                        tuple((shift + index, output) for index, output in item.inputs),
                        item.value,
                        item.attributes,
                    )
                    for item in expression.operations
                ]
            all_sources.append(tuple(sources))
            self._computed_places.append(places)
        merged = ArrayExpression(tuple(operations), tuple(results))
        return Parameters(tuple(all_sources), merged, tuple(self.computed_parameters()))

    def _check_expression(self) -> None:
        """Raises an error if NumPy's parameters are not TensorFlow's."""
        parameters = self.program.parameters
        found = parameters.expression(self.program.values)
        for want, got in zip(parameters.computed, found, strict=True):
            if want.shape != got.shape or want.dtype != got.dtype:
                raise LiteRTError(
                    f"NumPy computes {got.dtype}{got.shape} from its variables, and TensorFlow {want.dtype}{want.shape}"
                )
            if not np.allclose(want, got, rtol=1e-5, atol=1e-7, equal_nan=True):
                raise LiteRTError("what NumPy computes from its variables differs from TensorFlow")


def _variable(expression: ArrayExpression, index: int) -> str | None:
    """Returns the path of the variable that an operation passes on as it stands; None if it does something else."""
    operation = expression.operations[index]
    while operation.kind == "Identity":
        operation = expression.operations[operation.inputs[0][0]]
    return operation.value if operation.kind == "Variable" else None
