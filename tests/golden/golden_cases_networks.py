"""Golden cases: networks with given weights, and the distributions they make."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome
from golden_toolkit import (
    OBSERVATIONS,
    continuous,
    discrete,
    fill,
    linear_network,
    logits_of,
    observation_spec,
    summary,
)


def _outputs(network: Any, inputs: Any, **arguments: Any) -> Any:
    network.create_variables()
    fill(network.variables)
    return network(inputs, **arguments)


@case("network/interface")
def interface(ns: Any) -> Any:
    network = linear_network(ns, [[1.0], [2.0]])
    before = outcome(lambda: len(network.variables))
    output_spec = network.create_variables()
    again = network.create_variables()
    return {
        "before": before,
        "output_spec": [output_spec.shape, output_spec.dtype],
        "idempotent": [again.shape, len(network.variables)],
        "input_spec": network.input_tensor_spec,
        "state_spec": network.state_spec,
        "outputs": network(tf.constant(OBSERVATIONS)),
        "trainable": len(network.trainable_variables),
        "non_trainable": len(network.non_trainable_variables),
        "name": network.name,
        "initial_state": network.get_initial_state(batch_size=2),
    }


@case("network/copy")
def copy(ns: Any) -> Any:
    network = ns.value_network.ValueNetwork(observation_spec(), fc_layer_params=(3,))
    network.create_variables()
    copied = network.copy(name="Copy")
    copied.create_variables()
    shapes = [[variable.shape.as_list() for variable in item.variables] for item in (network, copied)]
    return {
        "same_shapes": shapes[0] == shapes[1],
        "shared": any(one is two for one, two in zip(network.variables, copied.variables, strict=True)),
        "name": copied.name,
        "kind": type(copied).__name__,
    }


@case("network/input_errors")
def input_errors(ns: Any) -> Any:
    network = linear_network(ns, [[1.0], [2.0]])
    return {
        "shape": outcome(lambda: network(tf.zeros((3, 5)))),
        "structure": outcome(lambda: network({"a": tf.zeros((3, 2))})),
        "dtype": outcome(lambda: network(tf.zeros((3, 2), tf.int32))),
    }


@cases(
    "encoding_network",
    {"plain": ({},), "layers": ({"fc_layer_params": (4, 3)},), "tanh": ({"fc_layer_params": (4,), "tanh": True},)},
)
def encoding(ns: Any, arguments: dict[str, Any]) -> Any:
    arguments = dict(arguments)
    if arguments.pop("tanh", False):
        arguments["activation_fn"] = tf.keras.activations.tanh
    network = ns.encoding_network.EncodingNetwork(observation_spec(), **arguments)
    return _outputs(network, tf.constant(OBSERVATIONS))


@case("encoding_network/batch_and_time")
def encoding_time(ns: Any) -> Any:
    network = ns.encoding_network.EncodingNetwork(observation_spec(), fc_layer_params=(3,))
    return _outputs(network, tf.constant(OBSERVATIONS[np.newaxis]))


@case("encoding_network/preprocessing")
def preprocessing(ns: Any) -> Any:
    spec = {"a": observation_spec(), "b": tf.TensorSpec((3,), tf.float32)}
    network = ns.encoding_network.EncodingNetwork(
        spec,
        preprocessing_layers={"a": tf.keras.layers.Dense(4), "b": tf.keras.layers.Dense(4)},
        preprocessing_combiner=tf.keras.layers.Add(),
        fc_layer_params=(2,),
    )
    return _outputs(network, {"a": tf.constant(OBSERVATIONS), "b": tf.ones((3, 3))})


@case("encoding_network/convolutions")
def convolutions(ns: Any) -> Any:
    network = ns.encoding_network.EncodingNetwork(
        tf.TensorSpec((6, 6, 2), tf.float32), conv_layer_params=((3, 3, 2),), fc_layer_params=(2,)
    )
    return _outputs(network, tf.reshape(tf.range(144.0), (2, 6, 6, 2)) / 100.0)


@case("encoding_network/nest_without_combiner")
def no_combiner(ns: Any) -> Any:
    spec = {"a": observation_spec(), "b": observation_spec()}
    return outcome(lambda: ns.encoding_network.EncodingNetwork(spec).name)


@case("value_network/outputs")
def value(ns: Any) -> Any:
    network = ns.value_network.ValueNetwork(observation_spec(), fc_layer_params=(4, 3))
    return {
        "batch": _outputs(network, tf.constant(OBSERVATIONS)),
        "time": network(tf.constant(OBSERVATIONS[np.newaxis])),
    }


@case("q_network/outputs")
def q_values(ns: Any) -> Any:
    network = ns.q_network.QNetwork(observation_spec(), discrete(ns), fc_layer_params=(4,))
    return {
        "batch": _outputs(network, tf.constant(OBSERVATIONS)),
        "shapes": sorted(list(variable.shape) for variable in network.variables),
        "two_actions": outcome(lambda: ns.q_network.QNetwork(observation_spec(), [discrete(ns), discrete(ns)]).name),
    }


@case("categorical_q_network/outputs")
def categorical_q(ns: Any) -> Any:
    network = ns.categorical_q_network.CategoricalQNetwork(
        observation_spec(), discrete(ns, 2), num_atoms=3, fc_layer_params=(4,)
    )
    return {"batch": _outputs(network, tf.constant(OBSERVATIONS)), "num_atoms": network.num_atoms}


@case("critic_network/outputs")
def critic(ns: Any) -> Any:
    network = ns.critic_network.CriticNetwork(
        (observation_spec(), continuous(ns)),
        observation_fc_layer_params=(4,),
        action_fc_layer_params=(3,),
        joint_fc_layer_params=(2,),
    )
    return _outputs(network, (tf.constant(OBSERVATIONS), tf.ones((3, 2))))


@case("ddpg_actor_network/outputs")
def ddpg_actor(ns: Any) -> Any:
    network = ns.actor_network.ActorNetwork(observation_spec(), continuous(ns, -2.0, 4.0), fc_layer_params=(4,))
    return _outputs(network, tf.constant(OBSERVATIONS))


@case("sequential/layers")
def sequential(ns: Any) -> Any:
    network = ns.sequential.Sequential(
        [
            tf.keras.layers.Dense(3, activation="relu"),
            tf.keras.layers.Lambda(lambda value: 2.0 * value),
            tf.keras.layers.Dense(2),
        ],
        input_spec=observation_spec(),
    )
    return _outputs(network, tf.constant(OBSERVATIONS))


@case("actor_distribution_network/discrete")
def actor_discrete(ns: Any) -> Any:
    network = ns.actor_distribution_network.ActorDistributionNetwork(
        observation_spec(), discrete(ns), fc_layer_params=(4,)
    )
    distribution, state = _outputs(network, tf.constant(OBSERVATIONS), step_type=tf.ones(3, tf.int32), network_state=())
    return {
        "log_prob": logits_of(distribution, 3),
        "dtype": distribution.dtype,
        "mode": distribution.mode(),
        "state": state,
        "entropy": distribution.entropy(),
    }


@case("actor_distribution_network/continuous")
def actor_continuous(ns: Any) -> Any:
    network = ns.actor_distribution_network.ActorDistributionNetwork(
        observation_spec(), continuous(ns, -2.0, 4.0), fc_layer_params=(4,)
    )
    distribution, _ = _outputs(network, tf.constant(OBSERVATIONS), step_type=tf.ones(3, tf.int32), network_state=())
    return {**summary(distribution, tf.ones((3, 2))), "stddev": distribution.stddev(), "mean": distribution.mean()}


@case("actor_distribution_network/nested")
def actor_nested(ns: Any) -> Any:
    spec = {"a": continuous(ns), "b": [discrete(ns)]}
    network = ns.actor_distribution_network.ActorDistributionNetwork(observation_spec(), spec, fc_layer_params=(4,))
    distributions, _ = _outputs(network, tf.constant(OBSERVATIONS), step_type=tf.ones(3, tf.int32), network_state=())
    return {"a": summary(distributions["a"], tf.ones((3, 2))), "b": logits_of(distributions["b"][0], 3)}
