"""ActorDistributionNetwork: a network from observations to action distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, DropoutLayerParams, num_layers
from distpolicy.networks.network import DistributionNetwork
from distpolicy.networks.projections import (
    default_categorical_projection_net,
    default_normal_projection_net,
    make_projections,
    project,
)
from distpolicy.networks.utils import outer_rank
from distpolicy.specs import tensor_spec


class ActorDistributionNetwork(DistributionNetwork):
    """Encodes an observation and projects the encoding to a distribution for each action.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        output_tensor_spec: Nest of bounded specs of one action.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        fc_layer_params: Width of each dense layer.
        dropout_layer_params: See :class:`EncodingNetwork`.
        activation_fn: Keras activation of the hidden layers.
        kernel_initializer: Initializer of the hidden layers' kernels; Glorot's uniform one by default.
        seed_stream_class: Ignored; keeps TF-Agents' order of arguments.
        seed: Seed of the initial weights, for initializers without a seed of their own; None to draw one.
        batch_squash: See :class:`EncodingNetwork`.
        dtype: Dtype of the layers.
        discrete_projection_net: Function that makes the projection for a discrete action from its spec, and from a
            ``seed`` if it has such an argument. It may be a class, such as :class:`CategoricalProjectionNetwork`.
        continuous_projection_net: Function that makes the projection for a continuous action in the same way, such as
            :class:`TanhNormalProjectionNetwork`.
        name: Name of the module.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        fc_layer_params: Sequence[int] | None = (200, 100),
        dropout_layer_params: DropoutLayerParams | None = None,
        activation_fn: Any = "relu",
        kernel_initializer: Any = None,
        seed_stream_class: Any = None,
        seed: int | None = None,
        batch_squash: bool = True,
        dtype: Any = tf.float32,
        discrete_projection_net: Callable[..., DistributionNetwork] = default_categorical_projection_net,
        continuous_projection_net: Callable[..., DistributionNetwork] = default_normal_projection_net,
        name: str | None = "ActorDistributionNetwork",
    ) -> None:
        output_tensor_spec = tensor_spec.from_spec(output_tensor_spec)
        first_seed = None if seed is None else seed + num_layers(conv_layer_params, fc_layer_params)
        projections = make_projections(
            output_tensor_spec, discrete_projection_net, continuous_projection_net, first_seed
        )
        output_spec = tf.nest.map_structure(lambda projection: projection.output_spec, projections)
        super().__init__(input_tensor_spec, (), output_spec, name)
        object.__setattr__(self, "_output_tensor_spec", output_tensor_spec)
        # tf.Module wraps this nest in its own containers, so distributions are packed into the spec's containers.
        self._projection = projections
        self._encoder = EncodingNetwork(
            self.input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            dropout_layer_params=dropout_layer_params,
            activation_fn=activation_fn,
            kernel_initializer="glorot_uniform" if kernel_initializer is None else kernel_initializer,
            batch_squash=batch_squash,
            dtype=dtype,
            seed=seed,
        )

    @property
    def output_tensor_spec(self) -> Any:
        """Specs of one action."""
        return self._output_tensor_spec

    def call(
        self,
        observation: Any,
        step_type: Any = None,
        network_state: Any = (),
        training: bool = False,
        mask: Any = None,
    ) -> Any:
        """Returns the distributions over actions.

        Args:
            observation: Nest of ``[..., *shape]``.
            step_type: Ignored.
            network_state: Returned unchanged.
            training: Whether dropout is active.
            mask: Mask of discrete actions; see :class:`CategoricalProjectionNetwork`. None for no mask.

        Returns:
            A nest of distributions like ``output_tensor_spec``, with batch shape ``[...]``, and ``network_state``.

        Raises:
            NotImplementedError: If there is a mask and an action is continuous.
        """
        encoding, network_state = self._encoder(
            observation, step_type=step_type, network_state=network_state, training=training
        )
        num_outer = outer_rank(observation, self.input_tensor_spec)
        return project(self._projection, self._output_tensor_spec, encoding, num_outer, training, mask), network_state
