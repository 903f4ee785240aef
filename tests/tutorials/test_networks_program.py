"""A program in the style of the tutorial on networks: a user's networks, with encoders and masks of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.environments import random_py_environment, tf_py_environment
from distpolicy.networks import categorical_projection_network, encoding_network, network, normal_projection_network
from distpolicy.networks import utils as network_utils
from distpolicy.policies import actor_policy
from distpolicy.specs import array_spec
from distpolicy.utils import common as common_utils
from distpolicy.utils import nest_utils


class ActorNetwork(network.Network):
    """From observations of a picture and a vector to one action of floats or integers."""

    def __init__(
        self,
        observation_spec: Any,
        action_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        fc_layer_params: Any = (75, 40),
        name: str = "ActorNetwork",
    ) -> None:
        super().__init__(input_tensor_spec=observation_spec, state_spec=(), name=name)
        self._action_spec = action_spec
        flat_action_spec = tf.nest.flatten(action_spec)
        if len(flat_action_spec) > 1:
            raise ValueError("this network takes one action")
        self._single_action_spec = flat_action_spec[0]
        self._encoder = encoding_network.EncodingNetwork(
            observation_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            fc_layer_params=fc_layer_params,
            activation_fn=tf.keras.activations.relu,
            kernel_initializer=tf.keras.initializers.VarianceScaling(
                scale=2.0, mode="fan_in", distribution="truncated_normal"
            ),
            batch_squash=False,
        )
        self._action_projection_layer = tf.keras.layers.Dense(
            int(np.prod(self._single_action_spec.shape)),
            activation=tf.keras.activations.tanh,
            kernel_initializer=tf.keras.initializers.RandomUniform(minval=-0.003, maxval=0.003),
            name="action",
        )

    def call(self, observations: Any, step_type: Any = (), network_state: Any = ()) -> tuple[Any, Any]:
        outer_rank = nest_utils.get_outer_rank(observations, self.input_tensor_spec)
        batch_squash = network_utils.BatchSquash(outer_rank)
        observations = tf.nest.map_structure(batch_squash.flatten, observations)
        state, network_state = self._encoder(observations, step_type=step_type, network_state=network_state)
        actions = self._action_projection_layer(state)
        actions = common_utils.scale_to_spec(actions, self._single_action_spec)
        actions = batch_squash.unflatten(actions)
        return tf.nest.pack_sequence_as(self._action_spec, [actions]), network_state


def make_environment(action_spec: Any) -> Any:
    observation_spec = {
        "image": array_spec.BoundedArraySpec((16, 16, 3), np.float32, minimum=0, maximum=255),
        "vector": array_spec.BoundedArraySpec((5,), np.float32, minimum=-100, maximum=100),
    }
    random_env = random_py_environment.RandomPyEnvironment(observation_spec, action_spec=action_spec)
    return tf_py_environment.TFPyEnvironment(random_env)


def preprocessing() -> tuple[Any, Any]:
    layers = {
        "image": tf.keras.models.Sequential(
            [tf.keras.layers.Conv2D(8, 3), tf.keras.layers.Flatten(), tf.keras.layers.Dense(5)]
        ),
        "vector": tf.keras.layers.Dense(5),
    }
    return layers, tf.keras.layers.Concatenate(axis=-1)


def test_a_network_of_the_users_is_the_actor_of_a_policy() -> None:
    tf_env = make_environment(array_spec.BoundedArraySpec((3,), np.float32, minimum=-1, maximum=1))
    layers, combiner = preprocessing()
    actor = ActorNetwork(
        tf_env.observation_spec(),
        tf_env.action_spec(),
        preprocessing_layers=layers,
        preprocessing_combiner=combiner,
    )
    time_step = tf_env.reset()
    actions, state = actor(time_step.observation, time_step.step_type, ())
    assert actions.shape == (1, 3)
    assert state == ()
    policy = actor_policy.ActorPolicy(tf_env.time_step_spec(), tf_env.action_spec(), actor)
    step = policy.action(time_step)
    assert step.action.shape == (1, 3)
    assert float(tf.reduce_max(tf.abs(step.action))) <= 1.0
    assert len(actor.trainable_variables) == len(actor.trainable_weights) > 8


class ActorDistributionNetwork(ActorNetwork):
    """The same with a distribution at its end."""

    def __init__(self, observation_spec: Any, action_spec: Any, **arguments: Any) -> None:
        super().__init__(observation_spec, action_spec, name="ActorDistributionNetwork", **arguments)
        spec = self._single_action_spec
        if spec.dtype.is_floating:
            self._projection: Any = normal_projection_network.NormalProjectionNetwork(
                spec, init_means_output_factor=0.1, std_bias_initializer_value=0.0
            )
        else:
            self._projection = categorical_projection_network.CategoricalProjectionNetwork(
                spec, logits_init_output_factor=0.1
            )

    def call(self, observations: Any, step_type: Any = (), network_state: Any = ()) -> tuple[Any, Any]:
        outer_rank = nest_utils.get_outer_rank(observations, self.input_tensor_spec)
        state, network_state = self._encoder(observations, step_type=step_type, network_state=network_state)
        distribution, _ = self._projection(state, outer_rank)
        return tf.nest.pack_sequence_as(self._action_spec, [distribution]), network_state


def test_projections_make_distributions_of_floats_and_of_integers() -> None:
    for spec in (
        array_spec.BoundedArraySpec((3,), np.float32, minimum=-1, maximum=1),
        array_spec.BoundedArraySpec((), np.int32, minimum=0, maximum=10),
    ):
        tf_env = make_environment(spec)
        layers, combiner = preprocessing()
        actor = ActorDistributionNetwork(
            tf_env.observation_spec(),
            tf_env.action_spec(),
            preprocessing_layers=layers,
            preprocessing_combiner=combiner,
        )
        policy = actor_policy.ActorPolicy(tf_env.time_step_spec(), tf_env.action_spec(), actor)
        time_step = tf_env.reset()
        distribution = policy.distribution(time_step).action
        assert distribution.sample().shape == (1, *spec.shape)
        for _ in range(3):
            time_step = tf_env.step(policy.action(time_step).action)
