"""LSTMEncodingNetwork: a recurrent network from observations to vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.keras_layers.dynamic_unroll_layer import DynamicUnroll
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import (
    ConvLayerParams,
    DropoutLayerParams,
    default_initializer,
    dense_layers,
    num_layers,
)
from distpolicy.networks.network import Network
from distpolicy.networks.utils import outer_rank
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import StepType


class LSTMEncodingNetwork(Network):
    """Applies an encoder, recurrent cells and dense layers.

    The state is reset where the step type is FIRST, also inside a sequence. A call on a sequence therefore returns the
    same as calls on its single steps. Without step types the state is never reset.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        input_fc_layer_params: Width of each dense layer before the cells.
        lstm_size: Number of units of each cell. Several cells are stacked.
        output_fc_layer_params: Width of each dense layer after the cells.
        activation_fn: Keras activation of the dense layers.
        rnn_construction_fn: Function that makes the recurrent part instead of ``lstm_size``. It returns a cell, a Keras
            layer such as ``keras.layers.LSTM`` (only its cell is used), or a :class:`DynamicUnroll`.
        rnn_construction_kwargs: Arguments of ``rnn_construction_fn``.
        dtype: Dtype of the layers and the state.
        name: Name of the module.
        cell: Kind of cells that ``lstm_size`` makes. ``"lstm"`` cells have states ``[h, c]``, ``"gru"`` cells ``[h]``,
            both as lists. The states of stacked cells come in a tuple.
        input_dropout_layer_params: Dropout of each dense layer before the cells; see :class:`EncodingNetwork`.
        kernel_initializer: Initializer of the dense layers' kernels.
        seed: Seed of the initial weights, for initializers without a seed of their own; None to draw one.

    Raises:
        ValueError: If not exactly one of ``lstm_size`` and ``rnn_construction_fn`` is given, or ``cell`` is unknown.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        input_fc_layer_params: Sequence[int] | None = (75, 40),
        lstm_size: Sequence[int] | None = None,
        output_fc_layer_params: Sequence[int] | None = (75, 40),
        activation_fn: Any = "relu",
        rnn_construction_fn: Callable[..., Any] | None = None,
        rnn_construction_kwargs: Mapping[str, Any] | None = None,
        dtype: Any = tf.float32,
        name: str | None = "LSTMEncodingNetwork",
        *,
        cell: str = "lstm",
        input_dropout_layer_params: DropoutLayerParams | None = None,
        kernel_initializer: Any = None,
        seed: int | None = None,
    ) -> None:
        if (lstm_size is None) == (rnn_construction_fn is None):
            raise ConfigError(f"{name}: give either lstm_size or rnn_construction_fn, not both or neither")
        num_inputs = num_layers(conv_layer_params, input_fc_layer_params)
        if lstm_size is not None:
            unroll = DynamicUnroll(_make_cells(cell, lstm_size, dtype, None if seed is None else seed + num_inputs))
        else:
            unroll = _as_unroll(rnn_construction_fn(**(rnn_construction_kwargs or {})))  # type: ignore[misc]
        super().__init__(input_tensor_spec, _state_spec(unroll.state_size, dtype), name)
        initializer = default_initializer() if kernel_initializer is None else kernel_initializer
        self._encoder = EncodingNetwork(
            self.input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=input_fc_layer_params,
            dropout_layer_params=input_dropout_layer_params,
            activation_fn=activation_fn,
            kernel_initializer=initializer,
            dtype=dtype,
            seed=seed,
        )
        self._unroll = unroll
        # A cell takes two seeds, one for its input weights and one for its state weights.
        num_before = num_inputs + 2 * len(lstm_size or ())
        self._output_layers = dense_layers(
            output_fc_layer_params, activation_fn, initializer, dtype=dtype, seed=seed, first_index=num_before
        )
        self._num_layers = num_before + len(self._output_layers)

    @property
    def num_layers(self) -> int:
        """Number of seeds that the initial weights take. Layers added later use the seeds after these."""
        return self._num_layers

    @property
    def hidden_layers(self) -> list[keras.Layer]:
        """The cells, and the dense layers after them."""
        cell = self._unroll.cell
        return [*getattr(cell, "cells", [cell]), *self._output_layers]

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the encodings.

        Args:
            observation: Nest of ``[B, *shape]``, ``[B, T, *shape]`` or ``shape``.
            step_type: int32 ``[B]``, ``[B, T]`` or scalar; None for no resets.
            network_state: The state before the first step, a nest of ``[B, size]`` like ``state_spec``.
            training: Whether dropout is active.

        Returns:
            float ``[B, units]``, ``[B, T, units]`` or ``[units]``, and the state after the last step.

        Raises:
            ValueError: If the observation has more than two outer dimensions.
        """
        num_outer = outer_rank(observation, self.input_tensor_spec)
        if num_outer > 2:
            raise SpecMismatchError(
                f"{self.name}: observations must have outer dimensions [B] or [B, T], but have {num_outer} of them"
            )
        values, _ = self._encoder(observation, training=training)
        reset_mask = None if step_type is None else tf.equal(step_type, StepType.FIRST)
        if num_outer == 0:
            values = values[tf.newaxis]
            reset_mask = None if reset_mask is None else reset_mask[tf.newaxis]
            network_state = tf.nest.map_structure(lambda item: item[tf.newaxis], network_state)
        values, network_state = self._unroll(
            values, initial_state=network_state, reset_mask=reset_mask, training=training
        )
        for layer in self._output_layers:
            values = layer(values)
        if num_outer == 0:
            values = tf.squeeze(values, axis=0)
            network_state = tf.nest.map_structure(lambda item: tf.squeeze(item, axis=0), network_state)
        return values, network_state


def _make_cells(kind: str, sizes: Sequence[int], dtype: Any, seed: int | None) -> list[keras.Layer]:
    kinds = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}
    if kind not in kinds:
        raise ConfigError(f"cell must be 'lstm' or 'gru', but is {kind!r}")

    def seeds(index: int) -> dict[str, Any]:
        if seed is None:
            return {}
        return {
            "kernel_initializer": keras.initializers.GlorotUniform(seed=seed + 2 * index),
            "recurrent_initializer": keras.initializers.Orthogonal(seed=seed + 2 * index + 1),
        }

    name = tf.as_dtype(dtype).name
    return [kinds[kind](int(size), dtype=name, **seeds(index)) for index, size in enumerate(sizes)]


def _as_unroll(layer: Any) -> DynamicUnroll:
    if isinstance(layer, DynamicUnroll):
        return layer
    # A Keras RNN layer cannot reset its state inside a sequence.
    return DynamicUnroll(layer.cell if isinstance(layer, keras.layers.RNN) else layer)


def _state_spec(state_size: Any, dtype: Any) -> Any:
    sizes = tf.nest.flatten(state_size)
    specs = [tensor_spec.TensorSpec((size,), dtype, f"network_state_{index}") for index, size in enumerate(sizes)]
    return tf.nest.pack_sequence_as(state_size, specs)
