"""Golden cases: ActorPolicy."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from golden_registry import case, cases, outcome
from golden_toolkit import (
    KERNEL,
    OBSERVATIONS,
    continuous,
    discrete,
    fill,
    function_network,
    linear_network,
    logits_of,
    masked_logits_network,
    observation_spec,
    step_spec,
    time_step,
)

Named = collections.namedtuple("Named", ["first", "second"])
_WIDE = [[2.0, 0.0], [0.0, 2.0]]


@cases("actor_policy/clip", {"default": ({},), "on": ({"clip": True},), "off": ({"clip": False},)})
def clip(ns: Any, arguments: Any) -> Any:
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), linear_network(ns, _WIDE), **arguments)
    return {"action": policy.action(time_step(ns)), "mode": policy.distribution(time_step(ns)).action.mode()}


@cases("actor_policy/clip_integers", {"on": (True,), "off": (False,)})
def clip_integers(ns: Any, clipped: bool) -> Any:
    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        return tf.cast(10.0 * observation[..., 0], tf.int64), state

    policy = ns.actor_policy.ActorPolicy(step_spec(ns), discrete(ns), function_network(ns, call), clip=clipped)
    return policy.action(time_step(ns)).action


_NESTS = {
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "dict": lambda a, b: {"z": a, "a": b},
    "namedtuple": Named,
    "deep": lambda a, b: {"x": [a, (b,)]},
}


@cases("actor_policy/nested_actions", {name: (name,) for name in _NESTS})
def nested_actions(ns: Any, name: str) -> Any:
    make = _NESTS[name]

    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        return make(observation, tf.cast(tf.argmax(observation, axis=-1), tf.int64)), state

    spec = make(continuous(ns), discrete(ns, 1))
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), spec, function_network(ns, call))
    return {"action": policy.action(time_step(ns)).action, "spec": policy.action_spec}


@case("actor_policy/nested_observations")
def nested_observations(ns: Any) -> Any:
    spec = {"a": observation_spec(), "b": (tf.TensorSpec((), tf.int32), [observation_spec()])}

    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        scale = tf.cast(observation["b"][0], tf.float32)[..., tf.newaxis]
        return observation["a"] + scale * observation["b"][1][0], state

    policy = ns.actor_policy.ActorPolicy(
        step_spec(ns, spec), continuous(ns, -9.0, 9.0), function_network(ns, call, spec)
    )
    observation = {"a": OBSERVATIONS, "b": (np.array([1, 2, 3], np.int32), [OBSERVATIONS])}
    return policy.action(time_step(ns, observation=observation)).action


@case("actor_policy/distributions")
def distributions(ns: Any) -> Any:
    def normal(output: Any) -> Any:
        return tfp.distributions.MultivariateNormalDiag(output, 0.5 * tf.ones_like(output))

    network = linear_network(ns, _WIDE, normal)
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), network)
    distribution = policy.distribution(time_step(ns)).action
    return {
        "kind": type(distribution).__name__,
        "mean": distribution.mean(),
        "stddev": distribution.stddev(),
        "log_prob": distribution.log_prob(tf.zeros((3, 2))),
        "bounded": bool(tf.reduce_all(tf.abs(policy.action(time_step(ns), seed=1).action) <= 1.0)),
    }


@case("actor_policy/plain_actions_are_deterministic_distributions")
def plain_actions(ns: Any) -> Any:
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), linear_network(ns, _WIDE))
    distribution = policy.distribution(time_step(ns)).action
    return {"kind": type(distribution).__name__, "loc": distribution.loc}


def _split(observation: Any) -> tuple[Any, Any]:
    return observation["network_input"], observation["mask"]


def _masked(ns: Any) -> tuple[Any, Any]:
    spec = {"network_input": observation_spec(), "mask": tf.TensorSpec((3,), tf.int32)}
    mask = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]], np.int32)
    step = time_step(ns, observation={"network_input": OBSERVATIONS, "mask": mask})
    return spec, step


@case("actor_policy/mask_of_a_users_network")
def mask(ns: Any) -> Any:
    spec, step = _masked(ns)
    policy = ns.actor_policy.ActorPolicy(
        step_spec(ns, spec),
        discrete(ns),
        masked_logits_network(ns),
        observation_and_action_constraint_splitter=_split,
    )
    distribution = policy.distribution(step).action
    return {
        "log_prob": tf.maximum(logits_of(distribution, 3), -100.0),
        "mode": distribution.mode(),
        "greedy": ns.greedy_policy.GreedyPolicy(policy).action(step).action,
        "splitter": policy.observation_and_action_constraint_splitter is _split,
    }


@case("actor_policy/mask_of_an_actor_distribution_network")
def mask_of_network(ns: Any) -> Any:
    spec, step = _masked(ns)
    network = ns.actor_distribution_network.ActorDistributionNetwork(
        observation_spec(), discrete(ns), fc_layer_params=(4,)
    )
    policy = ns.actor_policy.ActorPolicy(
        step_spec(ns, spec), discrete(ns), network, observation_and_action_constraint_splitter=_split
    )
    fill(policy.variables())
    distribution = policy.distribution(step).action
    return {
        "log_prob": tf.maximum(logits_of(distribution, 3), -100.0),
        "mode": distribution.mode(),
        "dtype": distribution.dtype,
        "drawn": policy.action(step, seed=1).action[2],
    }


@case("actor_policy/mask_errors")
def mask_errors(ns: Any) -> Any:
    spec, _ = _masked(ns)

    def make(action_spec: Any, network: Any) -> Any:
        return outcome(
            lambda: (
                ns.actor_policy.ActorPolicy(
                    step_spec(ns, spec), action_spec, network, observation_and_action_constraint_splitter=_split
                ).name
            )
        )

    def two(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        action = tf.cast(observation[..., 0], tf.int64)
        return [action, action], state

    return {
        "continuous": make(continuous(ns), linear_network(ns, _WIDE)),
        "two_actions": make([discrete(ns), discrete(ns)], function_network(ns, two)),
    }


@case("actor_policy/errors")
def errors(ns: Any) -> Any:
    def make(*arguments: Any) -> Any:
        return outcome(lambda: ns.actor_policy.ActorPolicy(*arguments).name)

    wide = linear_network(ns, _WIDE)
    return {
        "not_a_network": make(step_spec(ns), continuous(ns), lambda *args: args),
        "none": make(step_spec(ns), continuous(ns), None),
        "not_a_time_step": make(observation_spec(), continuous(ns), wide),
        "action_shape": make(step_spec(ns), continuous(ns), linear_network(ns, KERNEL)),
        "action_dtype": make(step_spec(ns), discrete(ns, 2), wide),
        "action_structure": make(step_spec(ns), [continuous(ns)], wide),
    }


@case("actor_policy/input_errors")
def input_errors(ns: Any) -> Any:
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), linear_network(ns, _WIDE))

    def act(**changes: Any) -> Any:
        return outcome(lambda: policy.action(time_step(ns)._replace(**changes)))

    return {"structure": act(observation=[tf.zeros((3, 2))]), "shape": act(observation=tf.zeros((3, 5)))}


@case("actor_policy/input_of_another_dtype")
def input_dtype(ns: Any) -> Any:
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), linear_network(ns, _WIDE))
    step = time_step(ns)._replace(observation=tf.zeros((3, 2), tf.float64))
    return outcome(lambda: policy.action(step))


@case("actor_policy/observation_normalizer")
def observation_normalizer(ns: Any) -> Any:
    normalizer = ns.tensor_normalizer.EMATensorNormalizer(observation_spec(), norm_update_rate=0.5)
    normalizer.update(tf.constant(OBSERVATIONS))
    policy = ns.actor_policy.ActorPolicy(
        step_spec(ns), continuous(ns, -9.0, 9.0), linear_network(ns, _WIDE), observation_normalizer=normalizer
    )
    return {
        "action": policy.action(time_step(ns)).action,
        "is_given": policy.observation_normalizer is normalizer,
        "num_variables": len(policy.variables()),
    }


@cases("actor_policy/training", {"off": (False,), "on": (True,)})
def training(ns: Any, on: bool) -> Any:
    class Switched(ns.network.Network):
        def __init__(self) -> None:
            super().__init__(input_tensor_spec=observation_spec(), state_spec=(), name="Switched")

        def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
            return (-observation if training else observation), network_state

    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns, -9.0, 9.0), Switched(), training=on)
    return policy.action(time_step(ns)).action


@case("actor_policy/recurrent")
def recurrent(ns: Any) -> Any:
    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        total = weights[0] * state["total"] + observation
        return total, {"total": total, "count": state["count"] + 1}

    state_spec = {"total": tf.TensorSpec((2,), tf.float32), "count": tf.TensorSpec((), tf.int32)}
    network = function_network(ns, call, state_spec=state_spec, weights=[0.5])
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns, -99.0, 99.0), network)
    state, steps = policy.get_initial_state(3), []
    for kinds in ((0, 0, 0), (1, 1, 2), (2, 1, 0), (0, 1, 1)):
        step = policy.action(time_step(ns, kinds), state)
        state = step.state
        steps.append(step)
    return {"spec": policy.policy_state_spec, "steps": steps, "initial": policy.get_initial_state(None)}


@case("actor_policy/network_without_step_type")
def network_without_step_type(ns: Any) -> Any:
    class Short(ns.network.Network):
        def __init__(self) -> None:
            super().__init__(input_tensor_spec=observation_spec(), state_spec=(), name="Short")

        def call(self, inputs: Any, network_state: Any = ()) -> Any:
            return 2.0 * inputs, network_state

    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), Short())
    return policy.action(time_step(ns)).action


@case("actor_policy/keras_layers_of_a_users_network")
def keras_layers(ns: Any) -> Any:
    class Layered(ns.network.Network):
        def __init__(self) -> None:
            super().__init__(input_tensor_spec=observation_spec(), state_spec=(), name="Layered")
            self._hidden = tf.keras.layers.Dense(3, activation="tanh")
            self._out = [tf.keras.layers.Dense(2)]

        def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
            return self._out[0](self._hidden(observation)), network_state

    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), Layered())
    fill(policy.variables())
    return {
        "action": policy.action(time_step(ns)).action,
        "shapes": sorted(list(variable.shape) for variable in policy.variables()),
        "num_trainable": len(policy.trainable_variables),
    }


@case("actor_policy/discrete_with_a_minimum")
def discrete_with_minimum(ns: Any) -> Any:
    network = ns.actor_distribution_network.ActorDistributionNetwork(
        observation_spec(), discrete(ns, 3, 5), fc_layer_params=(4,)
    )
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), discrete(ns, 3, 5), network)
    fill(policy.variables())
    return ns.greedy_policy.GreedyPolicy(policy).action(time_step(ns)).action


@case("actor_policy/unbatched_and_two_outer_dims")
def outer_dims(ns: Any) -> Any:
    network = ns.actor_distribution_network.ActorDistributionNetwork(
        observation_spec(), discrete(ns), fc_layer_params=(4,)
    )
    policy = ns.actor_policy.ActorPolicy(step_spec(ns), discrete(ns), network)
    fill(policy.variables())
    greedy = ns.greedy_policy.GreedyPolicy(policy)
    return [greedy.action(time_step(ns, 1)).action, greedy.action(time_step(ns, [[1, 1, 1]])).action]
