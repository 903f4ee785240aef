"""Golden cases: what TFPolicy does around its subclasses."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from golden_registry import case, cases, outcome
from golden_toolkit import OBSERVATIONS, continuous, discrete, observation_spec, step_spec, time_step

Named = collections.namedtuple("Named", ["first", "second"])
Info = collections.namedtuple("Info", ["log_probability", "extra"])


def _policy(ns: Any, action_spec: Any, action: Any, observation: Any = None, info: Any = (), **arguments: Any) -> Any:
    """A policy whose ``_action`` is ``action(time_step)``, and whose distributions are at that place."""

    class Scripted(ns.tf_policy.TFPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any) -> Any:
            return ns.policy_step.PolicyStep(action(time_step), policy_state, info)

        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            distributions = tf.nest.map_structure(tfp.distributions.Deterministic, action(time_step))
            return ns.policy_step.PolicyStep(distributions, policy_state, info)

    return Scripted(step_spec(ns, observation), action_spec, **arguments)


def _nested_spec(ns: Any) -> Any:
    return {
        "list": [continuous(ns), discrete(ns)],
        "named": Named(continuous(ns, -0.5, [0.5, 1.5]), (discrete(ns, 2, 4),)),
        "open": ns.tensor_spec.TensorSpec((2,), tf.float32),
    }


def _nested_action(step: Any) -> Any:
    count = tf.shape(step.discount)[0]
    integers = tf.fill([count], tf.constant(9, tf.int64))
    return {
        "list": [step.observation, integers],
        "named": Named(step.observation, (-integers,)),
        "open": 100.0 * step.observation,
    }


@cases("tf_policy/clip", {"on": (True,), "off": (False,)})
def clip(ns: Any, clipped: bool) -> Any:
    return _policy(ns, _nested_spec(ns), _nested_action, clip=clipped).action(time_step(ns))


@case("tf_policy/specs")
def specs(ns: Any) -> Any:
    policy = _policy(
        ns,
        _nested_spec(ns),
        _nested_action,
        policy_state_spec=[tf.TensorSpec((4,), tf.float32, "state")],
        info_spec={"a": tf.TensorSpec((), tf.int32, "a")},
    )
    return {
        "time_step": policy.time_step_spec,
        "action": policy.action_spec,
        "state": policy.policy_state_spec,
        "info": policy.info_spec,
        "step": policy.policy_step_spec,
        "trajectory": policy.trajectory_spec,
        "collect_data": policy.collect_data_spec,
        "emit_log_probability": policy.emit_log_probability,
        "validate_args": policy.validate_args,
        "splitter": policy.observation_and_action_constraint_splitter,
        "name": policy.name,
    }


@case("tf_policy/array_specs_are_converted")
def array_specs(ns: Any) -> Any:
    arrays = ns.array_spec
    observation = arrays.BoundedArraySpec((2,), np.float32, -1, 1, "observation")
    action = arrays.BoundedArraySpec((), np.int32, 0, 3, "action")
    policy = _policy(ns, action, lambda step: tf.zeros(3, tf.int32), observation)
    return [policy.time_step_spec, policy.action_spec]


@case("tf_policy/constructor_errors")
def constructor_errors(ns: Any) -> Any:
    class Overriding(ns.tf_policy.TFPolicy):
        def action(self, time_step: Any, policy_state: Any = (), seed: Any = None) -> Any:
            return time_step

        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            return time_step

    class Plain(ns.tf_policy.TFPolicy):
        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            return time_step

    class NoInit(Plain):
        def __init__(self) -> None:
            tf.Module.__init__(self)

    def zeros(step: Any) -> Any:
        return tf.zeros(3, tf.int64)

    return {
        "not_a_time_step": outcome(lambda: Plain(observation_spec(), discrete(ns))),
        "spec_of_a_number": outcome(lambda: _policy(ns, 3, zeros)),
        "public_method_overridden": outcome(lambda: Overriding(step_spec(ns), discrete(ns)).name),
        "no_super_init": outcome(lambda: NoInit().action(time_step(ns))),
    }


@case("tf_policy/only_actions")
def only_actions(ns: Any) -> Any:
    class Acting(ns.tf_policy.TFPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any) -> Any:
            return ns.policy_step.PolicyStep(time_step.observation, policy_state, ())

    policy = Acting(step_spec(ns), continuous(ns))
    return {
        "action": policy.action(time_step(ns)).action,
        "distribution": outcome(lambda: policy.distribution(time_step(ns))),
    }


@case("tf_policy/validate_args/time_step")
def validate_time_step(ns: Any) -> Any:
    spec = {"x": tf.TensorSpec((2,), tf.float32), "y": (tf.TensorSpec((), tf.int32),)}
    policy = _policy(ns, continuous(ns), lambda step: step.observation["x"], spec)
    x, y = tf.constant(OBSERVATIONS), tf.constant([1, 2, 3])

    def act(observation: Any) -> Any:
        step = time_step(ns)._replace(observation=observation)
        return outcome(lambda: policy.action(step).action)

    return {
        "right": act({"x": x, "y": (y,)}),
        "extra_key": act({"x": x, "y": (y,), "z": y}),
        "missing_key": act({"x": x}),
        "length": act({"x": x, "y": (y, y)}),
        "container": act({"x": x, "y": [y]}),
        "leaf": act(x),
        "tuple_for_time_step": outcome(lambda: policy.action(tuple(time_step(ns)))),
        "distribution_missing_key": outcome(lambda: policy.distribution(time_step(ns)._replace(observation={"x": x}))),
    }


@cases(
    "tf_policy/validate_args/inputs",
    {"dtype": ("dtype",), "shape": ("shape",), "step_type_dtype": ("step_type",)},
)
def validate_inputs(ns: Any, what: str) -> Any:
    policy = _policy(ns, continuous(ns), lambda step: tf.zeros((3, 2)))
    step = time_step(ns)
    if what == "dtype":
        step = step._replace(observation=tf.cast(step.observation, tf.float64))
    elif what == "shape":
        step = step._replace(observation=tf.zeros((3, 5)))
    else:
        step = step._replace(step_type=tf.cast(step.step_type, tf.int64))
    return outcome(lambda: policy.action(step).action)


@case("tf_policy/validate_args/outputs")
def validate_outputs(ns: Any) -> Any:
    def act(action: Any, info: Any = (), **arguments: Any) -> Any:
        return outcome(lambda: _policy(ns, discrete(ns), lambda step: action, info=info, **arguments).action(step))

    step, right = time_step(ns), tf.constant([0, 1, 2], tf.int64)
    return {
        "right": act(right),
        "structure": act([right]),
        "dtype": act(tf.constant([0.0, 1.0, 2.0]), clip=False),
        "info": act(right, info={"a": right}),
        "info_missing": act(right, info_spec={"a": tf.TensorSpec((), tf.int64)}),
        "unchecked_info": act(right, info=(right,), validate_args=False),
    }


@case("tf_policy/validate_args/output_shape")
def validate_output_shape(ns: Any) -> Any:
    policy = _policy(ns, discrete(ns), lambda step: tf.zeros((3, 4), tf.int64))
    return outcome(lambda: policy.action(time_step(ns)).action)


def _stateful(ns: Any, **arguments: Any) -> Any:
    """A policy that adds the observation to its state, a list of a vector and a counter that begins at 7."""

    class Adding(ns.tf_policy.TFPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any) -> Any:
            state = [policy_state[0] + time_step.observation, policy_state[1] + 1]
            return ns.policy_step.PolicyStep(state[0], state, ())

        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            raise NotImplementedError

        def _get_initial_state(self, batch_size: Any) -> Any:
            zeros = super()._get_initial_state(batch_size)
            return [zeros[0], zeros[1] + 7]

    spec = [tf.TensorSpec((2,), tf.float32), tf.TensorSpec((), tf.int32)]
    action_spec = continuous(ns, -100.0, 100.0)
    return Adding(step_spec(ns), action_spec, policy_state_spec=spec, **arguments)


@case("tf_policy/get_initial_state")
def get_initial_state(ns: Any) -> Any:
    policy = _stateful(ns)
    stateless = _policy(ns, discrete(ns), lambda step: tf.zeros(3, tf.int64))
    return {
        "none": policy.get_initial_state(None),
        "number": policy.get_initial_state(2),
        "tensor": policy.get_initial_state(tf.constant(2)),
        "named": policy.get_initial_state(batch_size=1),
        "stateless": stateless.get_initial_state(3),
    }


@cases("tf_policy/automatic_state_reset", {"on": (True,), "off": (False,)})
def automatic_state_reset(ns: Any, reset: bool) -> Any:
    policy = _stateful(ns, automatic_state_reset=reset)
    state, steps = policy.get_initial_state(3), []
    for kinds in ((0, 0, 0), (1, 2, 1), (1, 0, 2), (0, 1, 0)):
        step = policy.action(time_step(ns, kinds), state)
        state = step.state
        steps.append(step)
    return steps


@case("tf_policy/state_errors")
def state_errors(ns: Any) -> Any:
    policy, step = _stateful(ns), time_step(ns)
    state = policy.get_initial_state(3)
    return {
        "tuple_for_list": outcome(lambda: policy.action(step, tuple(state))),
        "length": outcome(lambda: policy.action(step, state[:1])),
        "none": outcome(lambda: policy.action(step, None)),
        "stateless_ignores_a_state": _policy(ns, discrete(ns), lambda step: tf.zeros(3, tf.int64))
        .action(step, ())
        .state,
    }


@case("tf_policy/stateful_without_a_state")
def stateful_without_state(ns: Any) -> Any:
    class Memoryless(ns.tf_policy.TFPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any) -> Any:
            memory = policy_state if tf.nest.flatten(policy_state) else tf.zeros_like(time_step.observation)
            return ns.policy_step.PolicyStep(memory, memory + time_step.observation, ())

        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            raise NotImplementedError

    policy = Memoryless(step_spec(ns), continuous(ns), policy_state_spec=tf.TensorSpec((2,), tf.float32))
    return outcome(lambda: policy.action(time_step(ns)).action)


def _normal(ns: Any, action_spec: Any, info_spec: Any = (), info: Any = (), **arguments: Any) -> Any:
    class Peaked(ns.tf_policy.TFPolicy):
        """Draws what it must: all of the probability is on the largest coordinate."""

        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            logits = tf.one_hot(tf.argmax(time_step.observation, axis=-1), 2, 200.0, -200.0)
            distribution = tfp.distributions.Categorical(logits=logits, dtype=tf.int64)
            actions = tf.nest.map_structure(lambda _: distribution, action_spec)
            return ns.policy_step.PolicyStep(actions, policy_state, info)

    return Peaked(step_spec(ns), action_spec, info_spec=info_spec, emit_log_probability=True, **arguments)


@cases("tf_policy/emit_log_probability", {"none": ("none",), "dict": ("dict",), "namedtuple": ("namedtuple",)})
def emit_log_probability(ns: Any, kind: str) -> Any:
    extra_spec, extra = tf.TensorSpec((), tf.int32, "extra"), tf.constant([1, 2, 3])
    info_spec, info = {
        "none": ((), ()),
        "dict": ({"extra": extra_spec}, {"extra": extra}),
        "namedtuple": (Info((), extra_spec), Info((), extra)),
    }[kind]
    policy = _normal(ns, {"a": discrete(ns, 2), "b": [discrete(ns, 1)]}, info_spec, info)
    step = policy.action(time_step(ns), seed=1)
    return {
        "structure": tf.nest.map_structure(lambda spec: [spec.shape, spec.dtype], policy.info_spec),
        "step": step,
        "get": ns.policy_step.get_log_probability(step.info),
    }


@case("tf_policy/emit_log_probability_spec")
def emit_log_probability_spec(ns: Any) -> Any:
    return _normal(ns, discrete(ns, 2)).info_spec


@case("tf_policy/emit_log_probability_distribution")
def emit_log_probability_distribution(ns: Any) -> Any:
    return _normal(ns, discrete(ns, 2)).distribution(time_step(ns)).info


@case("tf_policy/emit_log_probability_of_another_info")
def emit_log_probability_other(ns: Any) -> Any:
    Without = collections.namedtuple("Without", ["extra"])
    return outcome(lambda: _normal(ns, discrete(ns, 2), Without(tf.TensorSpec((), tf.int32))).info_spec)


@case("tf_policy/emit_log_probability_leaves_the_given_dict_alone")
def emit_log_probability_in_place(ns: Any) -> Any:
    info_spec = {"extra": tf.TensorSpec((), tf.int32)}
    _normal(ns, discrete(ns, 2), info_spec)
    return sorted(info_spec)


@case("tf_policy/in_a_function")
def in_a_function(ns: Any) -> Any:
    policy = _policy(ns, _nested_spec(ns), _nested_action)
    return tf.function(policy.action)(time_step(ns))


@case("tf_policy/unbatched_and_two_outer_dims")
def outer_dims(ns: Any) -> Any:
    policy = _policy(ns, continuous(ns), lambda step: step.observation)
    return [policy.action(time_step(ns, 1)).action, policy.action(time_step(ns, [[1, 1, 1]])).action]


@case("tf_policy/module")
def module(ns: Any) -> Any:
    class Outer(ns.tf_policy.TFPolicy):
        def __init__(self) -> None:
            super().__init__(step_spec(ns), discrete(ns), name="outer")
            self.inner = _policy(ns, discrete(ns), lambda step: tf.zeros(3, tf.int64), name="inner")
            self.first = tf.Variable(1.0)
            self.second = tf.Variable(2.0, trainable=False)

        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            raise NotImplementedError

        @tf.Module.with_name_scope
        def scoped(self) -> Any:
            return tf.Variable(0.0, name="made").name

    policy = Outer()
    return {
        "name": policy.name,
        "name_scope": policy.name_scope.name,
        "submodules": [type(item).__name__ for item in policy.submodules],
        "variables": sorted(float(variable.numpy()) for variable in policy.variables()),
        "trainable": [float(variable.numpy()) for variable in policy.trainable_variables],
        "scoped": policy.scoped(),
        "kind_of_variables": type(policy.variables()).__name__,
    }
