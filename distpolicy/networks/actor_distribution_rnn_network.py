"""ActorDistributionRnnNetwork: a recurrent network from observations to action distributions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.networks.layer_stacks import ConvLayerParams, DropoutLayerParams
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.network import DistributionNetwork
from distpolicy.networks.projections import (
    default_categorical_projection_net,
    default_normal_projection_net,
    make_projections,
    project,
)
from distpolicy.networks.utils import outer_rank
from distpolicy.specs import tensor_spec


class ActorDistributionRnnNetwork(DistributionNetwork):
    """Encodes a sequence of observations and projects the encodings to a distribution for each action.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        output_tensor_spec: Nest of bounded specs of one action.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        input_fc_layer_params: See :class:`LSTMEncodingNetwork`.
        input_dropout_layer_params: See :class:`LSTMEncodingNetwork`.
        lstm_size: See :class:`LSTMEncodingNetwork`.
        output_fc_layer_params: See :class:`LSTMEncodingNetwork`.
        activation_fn: Keras activation of the dense layers.
        dtype: Dtype of the layers and the state.
        discrete_projection_net: See :class:`ActorDistributionNetwork`.
        continuous_projection_net: See :class:`ActorDistributionNetwork`.
        rnn_construction_fn: See :class:`LSTMEncodingNetwork`.
        rnn_construction_kwargs: See :class:`LSTMEncodingNetwork`.
        name: Name of the module.
        cell: See :class:`LSTMEncodingNetwork`: ``"lstm"`` or ``"gru"``.
        kernel_initializer: Initializer of the dense layers' kernels.
        seed: Seed of the initial weights, for initializers without a seed of their own; None to draw one.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        input_fc_layer_params: Sequence[int] | None = (200, 100),
        input_dropout_layer_params: DropoutLayerParams | None = None,
        lstm_size: Sequence[int] | None = None,
        output_fc_layer_params: Sequence[int] | None = (200, 100),
        activation_fn: Any = "relu",
        dtype: Any = tf.float32,
        discrete_projection_net: Callable[..., DistributionNetwork] = default_categorical_projection_net,
        continuous_projection_net: Callable[..., DistributionNetwork] = default_normal_projection_net,
        rnn_construction_fn: Callable[..., Any] | None = None,
        rnn_construction_kwargs: Mapping[str, Any] | None = None,
        name: str | None = "ActorDistributionRnnNetwork",
        *,
        cell: str = "lstm",
        kernel_initializer: Any = None,
        seed: int | None = None,
    ) -> None:
        encoder = LSTMEncodingNetwork(
            input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            input_fc_layer_params=input_fc_layer_params,
            lstm_size=lstm_size,
            output_fc_layer_params=output_fc_layer_params,
            activation_fn=activation_fn,
            rnn_construction_fn=rnn_construction_fn,
            rnn_construction_kwargs=rnn_construction_kwargs,
            dtype=dtype,
            cell=cell,
            input_dropout_layer_params=input_dropout_layer_params,
            kernel_initializer=kernel_initializer,
            seed=seed,
        )
        output_tensor_spec = tensor_spec.from_spec(output_tensor_spec)
        projections = make_projections(
            output_tensor_spec,
            discrete_projection_net,
            continuous_projection_net,
            None if seed is None else seed + encoder.num_layers,
        )
        output_spec = tf.nest.map_structure(lambda projection: projection.output_spec, projections)
        super().__init__(input_tensor_spec, encoder.state_spec, output_spec, name)
        self._encoder = encoder
        object.__setattr__(self, "_output_tensor_spec", output_tensor_spec)
        # tf.Module wraps this nest in its own containers, so distributions are packed into the spec's containers.
        self._projection = projections

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
            observation: Nest of ``[B, *shape]``, ``[B, T, *shape]`` or ``shape``.
            step_type: int32 ``[B]``, ``[B, T]`` or scalar; the state is reset where it is FIRST. None for no resets.
            network_state: The state before the first step, a nest of ``[B, size]`` like ``state_spec``.
            training: Whether dropout is active.
            mask: Mask of discrete actions; see :class:`CategoricalProjectionNetwork`. None for no mask.

        Returns:
            A nest of distributions with the outer dimensions as batch shape, and the state after the last step.

        Raises:
            NotImplementedError: If there is a mask and an action is continuous.
        """
        encoding, network_state = self._encoder(
            observation, step_type=step_type, network_state=network_state, training=training
        )
        num_outer = outer_rank(observation, self.input_tensor_spec)
        return project(self._projection, self._output_tensor_spec, encoding, num_outer, training, mask), network_state
