"""Golden cases: policies over Q-values."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome
from golden_toolkit import (
    KERNEL,
    OBSERVATIONS,
    continuous,
    discrete,
    function_network,
    linear_network,
    logits_of,
    observation_spec,
    step_spec,
    time_step,
)

_WIDE = [[2.0, 0.0], [0.0, 2.0]]


def _q_policy(ns: Any, action_spec: Any = None, network: Any = None, **arguments: Any) -> Any:
    network = linear_network(ns, KERNEL) if network is None else network
    return ns.q_policy.QPolicy(
        step_spec(ns), discrete(ns) if action_spec is None else action_spec, network, **arguments
    )


@case("q_policy/logits")
def q_logits(ns: Any) -> Any:
    policy = _q_policy(ns)
    distribution = policy.distribution(time_step(ns)).action
    return {
        "kind": type(distribution).__name__,
        "log_prob": logits_of(distribution, 3),
        "dtype": distribution.dtype,
        "mode": distribution.mode(),
        "greedy": ns.greedy_policy.GreedyPolicy(policy).action(time_step(ns)),
        "state_spec": policy.policy_state_spec,
        "info_spec": policy.info_spec,
    }


@case("q_policy/minimum_is_refused")
def q_minimum_refused(ns: Any) -> Any:
    return outcome(lambda: _q_policy(ns, discrete(ns, 3, 5)).distribution(time_step(ns)).action.mode())


@case("q_policy/minimum_unvalidated")
def q_minimum(ns: Any) -> Any:
    policy = _q_policy(ns, discrete(ns, 3, 5), validate_action_spec_and_network=False)
    distribution = policy.distribution(time_step(ns)).action
    return {"log_prob": logits_of(distribution, 3, 5), "mode": distribution.mode(), "dtype": distribution.dtype}


@case("q_policy/nested_action_spec")
def q_nested(ns: Any) -> Any:
    return ns.greedy_policy.GreedyPolicy(_q_policy(ns, [discrete(ns)])).action(time_step(ns)).action


@case("q_policy/emit_log_probability")
def q_emit(ns: Any) -> Any:
    policy = _q_policy(ns, network=linear_network(ns, 1000.0 * np.array(KERNEL)), emit_log_probability=True)
    return policy.action(time_step(ns), seed=1)


def _split(observation: Any) -> tuple[Any, Any]:
    return observation["x"], observation["mask"]


def _masked_q(ns: Any, action_spec: Any = None) -> tuple[Any, Any]:
    spec = step_spec(ns, {"x": observation_spec(), "mask": tf.TensorSpec((3,), tf.int32)})
    policy = ns.q_policy.QPolicy(
        spec,
        discrete(ns) if action_spec is None else action_spec,
        linear_network(ns, KERNEL),
        observation_and_action_constraint_splitter=_split,
        validate_action_spec_and_network=False,
    )
    mask = np.array([[1, 0, 1], [0, 1, 1], [1, 0, 0]], np.int32)
    return policy, time_step(ns, observation={"x": OBSERVATIONS, "mask": mask})


@cases("q_policy/mask", {"plain": (0,), "minimum": (4,)})
def q_mask(ns: Any, minimum: int) -> Any:
    policy, step = _masked_q(ns, discrete(ns, 3, minimum))
    distribution = policy.distribution(step).action
    return {
        "log_prob": tf.maximum(logits_of(distribution, 3, minimum), -100.0),
        "mode": distribution.mode(),
        "greedy": ns.greedy_policy.GreedyPolicy(policy).action(step).action,
    }


@case("q_policy/errors")
def q_errors(ns: Any) -> Any:
    return {
        "two_actions": outcome(lambda: _q_policy(ns, [discrete(ns), discrete(ns)]).name),
        "continuous": outcome(lambda: _q_policy(ns, continuous(ns, shape=())).name),
        "number_of_outputs": outcome(lambda: _q_policy(ns, discrete(ns, 4)).name),
        "vector_action": outcome(
            lambda: _q_policy(ns, ns.tensor_spec.BoundedTensorSpec((2,), tf.int64, 0, 2, "action")).name
        ),
    }


@case("categorical_q_policy/expected_values")
def categorical_q(ns: Any) -> Any:
    class Atoms(ns.network.Network):
        def __init__(self) -> None:
            super().__init__(input_tensor_spec=observation_spec(), state_spec=(), name="Atoms")
            self.num_atoms = 3

        def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
            logits = tf.linalg.matmul(observation, tf.constant([[1.0, -1.0, 0.5, 0.0, 2.0, 1.0], [0.5] * 6]))
            return tf.reshape(logits, [-1, 2, 3]), network_state

    policy = ns.categorical_q_policy.CategoricalQPolicy(step_spec(ns), discrete(ns, 2), Atoms(), -10.0, 10.0)
    distribution = policy.distribution(time_step(ns)).action
    return {
        "log_prob": logits_of(distribution, 2),
        "greedy": ns.greedy_policy.GreedyPolicy(policy).action(time_step(ns)).action,
    }


@cases("boltzmann_policy", {"cold": (0.5,), "hot": (4.0,), "callable": (lambda: 2.0,)})
def boltzmann(ns: Any, temperature: Any) -> Any:
    policy = ns.boltzmann_policy.BoltzmannPolicy(_q_policy(ns), temperature=temperature)
    distribution = policy.distribution(time_step(ns)).action
    return {
        "log_prob": logits_of(distribution, 3),
        "mode": distribution.mode(),
        "num_variables": len(policy.variables()),
    }


@case("boltzmann_policy/zero_temperature")
def boltzmann_zero(ns: Any) -> Any:
    policy = ns.boltzmann_policy.BoltzmannPolicy(_q_policy(ns), temperature=1e-6)
    return policy.action(time_step(ns), seed=1).action


@cases("epsilon_greedy_policy/epsilon_0", {"number": (0.0,), "callable": (lambda: 0.0,), "tensor": ("tensor",)})
def epsilon_greedy(ns: Any, epsilon: Any) -> Any:
    epsilon = tf.constant(0.0) if epsilon == "tensor" else epsilon
    policy = ns.epsilon_greedy_policy.EpsilonGreedyPolicy(_q_policy(ns), epsilon=epsilon)
    return {"step": policy.action(time_step(ns), seed=1), "num_variables": len(policy.variables())}


@case("epsilon_greedy_policy/errors")
def epsilon_errors(ns: Any) -> Any:
    policy = ns.epsilon_greedy_policy.EpsilonGreedyPolicy(_q_policy(ns), epsilon=0.5)
    return {"distribution": outcome(lambda: policy.distribution(time_step(ns)).info)}


@case("q_policy/recurrent")
def q_recurrent(ns: Any) -> Any:
    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        total = 0.5 * state + observation
        return tf.concat([total, total[..., :1]], axis=-1), total

    network = function_network(ns, call, state_spec=tf.TensorSpec((2,), tf.float32))
    policy = ns.greedy_policy.GreedyPolicy(_q_policy(ns, network=network))
    state, steps = policy.get_initial_state(3), []
    for kinds in ((0, 0, 0), (1, 2, 1), (1, 0, 1)):
        step = policy.action(time_step(ns, kinds), state)
        state = step.state
        steps.append(step)
    return steps
