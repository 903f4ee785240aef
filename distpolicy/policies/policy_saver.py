"""PolicySaver: a policy as a SavedModel that TensorFlow alone can serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import TimeStep


class PolicySaver:
    """Writes a policy with its specs; ``tf.saved_model.load`` in a process without distpolicy can act with it.

    The loaded object has ``action(step_type, reward, discount, observation, policy_state)``, also as signature
    for policies of one observation tensor, and ``get_initial_state(batch_size)``.

    Args:
        policy: The policy; its variables and its observation normaliser are saved with it.
        batch_size: A fixed batch size, or None for an open one.
    """

    def __init__(self, policy: TFPolicy, batch_size: int | None = None) -> None:
        self._policy = policy
        self._batch_size = batch_size

    def save(self, path: str | Path) -> None:
        """Writes ``saved_model.pb``, the variables, and ``policy_specs.json`` last."""
        policy = self._policy
        outer = (self._batch_size,)
        step_spec: TimeStep = tensor_spec.add_outer_dims(policy.time_step_spec, outer)
        state_spec = tensor_spec.add_outer_dims(policy.policy_state_spec, outer)
        module = tf.Module()
        module.policy = policy

        def action(step_type: Any, reward: Any, discount: Any, observation: Any, policy_state: Any) -> Any:
            step = policy.action(TimeStep(step_type, reward, discount, observation), policy_state)
            return {"action": step.action, "state": step.state, "info": step.info}

        # TensorSpecs without bounds: SavedModel's own signature format has none.
        signature = tf.nest.map_structure(_plain, (*step_spec, state_spec))
        module.action = tf.function(action, input_signature=list(signature))
        module.get_initial_state = tf.function(
            lambda batch_size: policy.get_initial_state(batch_size),
            input_signature=[tf.TensorSpec((), tf.int32, "batch_size")],
        )
        signatures = {}
        if not tf.nest.flatten(policy.policy_state_spec) and isinstance(step_spec.observation, tf.TypeSpec):
            flat = tf.function(lambda **step: {"action": action(**step, policy_state=())["action"]})
            specs = {name: _plain(getattr(step_spec, name), name) for name in TimeStep._fields}
            signatures["action"] = flat.get_concrete_function(**specs)
        tf.saved_model.save(module, str(path), signatures=signatures or None)
        specs_text = json.dumps(
            {
                "time_step_spec": _describe(policy.time_step_spec),
                "action_spec": _describe(policy.action_spec),
                "policy_state_spec": _describe(policy.policy_state_spec),
                "info_spec": _describe(policy.info_spec),
            },
            indent=2,
        )
        (Path(path) / "policy_specs.json").write_text(specs_text + "\n")


def _plain(spec: Any, name: str | None = None) -> tf.TensorSpec:
    return tf.TensorSpec(spec.shape, spec.dtype, name or spec.name)


def _describe(nest: Any) -> Any:
    if isinstance(nest, dict):
        return {key: _describe(child) for key, child in nest.items()}
    if hasattr(nest, "_fields"):
        return {name: _describe(getattr(nest, name)) for name in nest._fields}
    if isinstance(nest, list | tuple):
        return [_describe(child) for child in nest]
    described = {"shape": nest.shape.as_list(), "dtype": nest.dtype.name}
    if tensor_spec.is_bounded(nest):
        described |= {"minimum": nest.minimum.tolist(), "maximum": nest.maximum.tolist()}
    return described
