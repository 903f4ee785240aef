"""FrozenAction: a policy's action as a graph of TensorFlow without variables, with named flat inputs and outputs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.export.graph_rewrites import to_single_precision
from distpolicy.export.signature import ExportedTensor, Role, Signature
from distpolicy.policies.action_program import example_steps
from distpolicy.policies.litert_action import record_draws
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.utils.compilation.litert_program import LiteRTError
from distpolicy.utils.nests.array_nest import flatten, paths
from distpolicy.utils.sampling.tensor_draws import noise_from

_EXAMPLE_ROWS = 8
_RANDOM = re.compile(r"^(Stateless)?(Random|Multinomial|TruncatedNormal|ParameterizedTruncated|Stateful)")


class FrozenAction:
    """Traces and freezes ``policy.action``. Inputs that the outputs do not depend on are left out.

    A policy that draws its actions takes the uniform numbers of its draws as inputs.

    Args:
        policy: The policy.
        batch_size: Number of rows; None for any.
        single_precision: Whether to compute in float32 what the policy computes in float64.

    Raises:
        ConfigError: If the policy cannot be exported. The message says why.

    Attributes:
        signature: Its inputs and outputs.
        graph_def: The graph.
        output_names: The names of the outputs' nodes, in the signature's order.
        function: The graph as a concrete function, which takes and returns tensors by name.
    """

    def __init__(self, policy: TFPolicy, batch_size: int | None, single_precision: bool) -> None:
        time_step_spec = tensor_spec.to_nest_array_spec(policy.time_step_spec)
        try:
            num_draws = self._num_draws(policy, time_step_spec)
        except LiteRTError as error:
            raise ConfigError(f"the policy draws its actions in a way that cannot be exported: {error}") from error
        leaves = _named_inputs(policy, time_step_spec, num_draws, batch_size)
        frozen = _frozen(_traced(policy, leaves, batch_size))
        graph_def = frozen.graph.as_graph_def()
        used = _reachable(graph_def, [tensor.op.name for tensor in frozen.outputs])
        if "seed" in used:
            raise ConfigError("the policy draws from its seed without numbers of its own: save the policy again")
        for node in graph_def.node:
            if node.name in used and _RANDOM.match(node.op):
                raise ConfigError(f"the policy draws by TensorFlow's {node.op}, which cannot be exported")
        inputs = [leaf for leaf in leaves if leaf.name in used]
        if single_precision:
            to_single_precision(graph_def)
            inputs = [_in_single(leaf) for leaf in inputs]
        outputs = _named_outputs(policy, batch_size, single_precision)
        self.graph_def, self.output_names = _with_output_names(graph_def, frozen.outputs, outputs, used)
        self.function = _function(self.graph_def, inputs, self.output_names)
        state_names = [leaf.name for leaf in leaves if leaf.role == "state"]
        initial = [np.asarray(leaf)[0].tolist() for leaf in tf.nest.flatten(policy.get_initial_state(1))]
        self.signature = Signature(tuple(inputs), tuple(outputs), dict(zip(state_names, initial, strict=True)))

    def _num_draws(self, policy: TFPolicy, time_step_spec: Any) -> list[int]:
        """Returns how many numbers each draw takes for a row."""
        example = example_steps(time_step_spec, _EXAMPLE_ROWS)
        state = tf.nest.map_structure(np.asarray, policy.get_initial_state(_EXAMPLE_ROWS))
        seed = np.random.default_rng(1).integers(2**31, size=(_EXAMPLE_ROWS, 2), dtype=np.int32)
        return [draw.num for draw in record_draws(policy, (example, state), seed)[1]]


def _named_inputs(
    policy: TFPolicy, time_step_spec: Any, num_draws: list[int], batch_size: int | None
) -> list[ExportedTensor]:
    """Returns all inputs: the leaves of the time step and the state, and the numbers of each draw."""
    found: list[ExportedTensor] = []
    taken: set[str] = set()

    def add(role: Role, nest: Any) -> None:
        for path, spec in zip(paths(nest), flatten(nest), strict=True):
            shape = (batch_size, *spec.shape)
            found.append(ExportedTensor(_name(role, path, taken), role, path, shape, np.dtype(spec.dtype).name))

    add("step_type", time_step_spec.step_type)
    add("reward", time_step_spec.reward)
    add("discount", time_step_spec.discount)
    add("observation", time_step_spec.observation)
    add("state", tensor_spec.to_nest_array_spec(policy.policy_state_spec))
    for num in num_draws:
        found.append(ExportedTensor(_name("noise", "", taken), "noise", "", (batch_size, num), "float32"))
    return found


def _named_outputs(policy: TFPolicy, batch_size: int | None, single_precision: bool) -> list[ExportedTensor]:
    found: list[ExportedTensor] = []
    taken: set[str] = set()
    parts: list[tuple[str, Role, Any]] = [
        ("action", "action", policy.action_spec),
        ("next_state", "state", policy.policy_state_spec),
        ("info", "info", policy.info_spec),
    ]
    for prefix, role, nest in parts:
        specs = tensor_spec.to_nest_array_spec(nest)
        for path, spec in zip(paths(specs), flatten(specs), strict=True):
            shape, dtype = (batch_size, *spec.shape), np.dtype(spec.dtype).name
            leaf = ExportedTensor(_name(prefix, path, taken), role, path, shape, dtype)
            found.append(_in_single(leaf) if single_precision else leaf)
    return found


def _name(prefix: str, path: str, taken: set[str]) -> str:
    """Returns a name that every format takes: letters, digits and underscores."""
    name = wanted = prefix + re.sub(r"\W", "_", path, flags=re.ASCII)
    number = 2
    while name.lower() in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name.lower())
    return name


def _traced(policy: TFPolicy, leaves: list[ExportedTensor], batch_size: int | None) -> Any:
    nest = (policy.time_step_spec, policy.policy_state_spec)
    num_leaves = len(tf.nest.flatten(nest))

    def flat(*tensors: tf.Tensor) -> list[tf.Tensor]:
        noise = iter(tensors[num_leaves:-1])
        with noise_from(lambda seed, num: next(noise)):
            time_step, state = tf.nest.pack_sequence_as(nest, tensors[:num_leaves])
            step = policy.action(time_step, state, tensors[-1])
        return [tf.identity(leaf) for leaf in tf.nest.flatten(step)]

    specs = [tf.TensorSpec(leaf.shape, leaf.dtype, leaf.name) for leaf in leaves]
    specs.append(tf.TensorSpec((batch_size, 2), tf.int32, "seed"))
    return tf.function(flat, autograph=False).get_concrete_function(*specs)


def _frozen(concrete: Any) -> Any:
    """Returns the function with the variables as constants, and the functions that it calls inlined."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)


def _reachable(graph_def: Any, targets: list[str]) -> set[str]:
    """Returns the names of the nodes that the targets depend on. An assertion is not one of them."""
    nodes = {node.name: node for node in graph_def.node}
    found: set[str] = set()
    stack = list(targets)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += [item.split(":")[0] for item in nodes[name].input if not item.startswith("^")]
    return found


def _with_output_names(
    graph_def: Any, tensors: list[tf.Tensor], outputs: list[ExportedTensor], used: set[str]
) -> tuple[Any, list[str]]:
    """Returns the part of the graph that the outputs need, with an Identity of each output's name."""
    kept = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name in used:
            copy = kept.node.add()
            copy.CopyFrom(node)
            del copy.input[:]
            copy.input.extend(item for item in node.input if not item.startswith("^"))
    taken = {node.name for node in kept.node}
    names = []
    for tensor, output in zip(tensors, outputs, strict=True):
        name = output.name
        while name in taken:
            name += "_"
        node = kept.node.add(name=name, op="Identity", input=[tensor.name])
        node.attr["T"].type = tf.as_dtype(output.dtype).as_datatype_enum
        names.append(name)
    return kept, names


def _function(graph_def: Any, inputs: list[ExportedTensor], output_names: list[str]) -> Any:
    def exported(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        mapped = {f"{name}:0": tensor for name, tensor in given.items()}
        elements = [f"{name}:0" for name in output_names]
        found = tf.graph_util.import_graph_def(graph_def, input_map=mapped, return_elements=elements, name="")
        return dict(zip(output_names, found, strict=True))

    specs = {leaf.name: tf.TensorSpec(leaf.shape, leaf.dtype, leaf.name) for leaf in inputs}
    return tf.function(exported, autograph=False).get_concrete_function(**specs)


def _in_single(leaf: ExportedTensor) -> ExportedTensor:
    if leaf.dtype != "float64":
        return leaf
    return ExportedTensor(leaf.name, leaf.role, leaf.path, leaf.shape, "float32")
