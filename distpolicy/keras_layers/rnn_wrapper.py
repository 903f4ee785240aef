"""RNNWrapper: a recurrent Keras layer that returns its outputs and its state as two values."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

__all__ = ["RNNWrapper"]


@keras.saving.register_keras_serializable("distpolicy")
class RNNWrapper(keras.layers.Layer):
    """Calls a recurrent layer on inputs with or without a time dimension, and packs the state like its cell's.

    Args:
        layer: An RNN, LSTM or GRU layer that was made with ``return_state=True`` and ``return_sequences=True``.
        **kwargs: Arguments of every Keras layer.

    Raises:
        TypeError: If the layer is not recurrent.
        NotImplementedError: If the layer does not return its state, or not all outputs.
    """

    def __init__(self, layer: keras.layers.RNN, **kwargs: Any) -> None:
        if not isinstance(layer, keras.layers.RNN):
            raise TypeError(f"layer must be a recurrent Keras layer, not {type(layer).__name__}")
        for name in ("return_state", "return_sequences"):
            if not getattr(layer, name):
                raise NotImplementedError(f"the layer {layer.name} must be made with {name}=True")
        super().__init__(**kwargs)
        self._layer = layer

    @property
    def cell(self) -> Any:
        """The layer's cell."""
        return self._layer.cell

    @property
    def state_size(self) -> Any:
        """Sizes of the cell's states."""
        return self._layer.cell.state_size

    @property
    def wrapped_layer(self) -> keras.layers.RNN:
        """The layer."""
        return self._layer

    def build(self, input_shape: Any) -> None:
        """Creates the layer's weights for inputs ``[B, ...]`` or ``[B, T, ...]``."""
        if not self._layer.built:
            self._layer.build(input_shape if len(input_shape) > 2 else (input_shape[0], None, *input_shape[1:]))

    def get_initial_state(self, inputs: tf.Tensor) -> Any:
        """Returns zeros for the batch of the inputs, packed like :attr:`state_size`."""
        batch_size = inputs.shape[0] if inputs.shape[0] is not None else tf.shape(inputs)[0]
        return self._packed(self._layer.get_initial_state(batch_size))

    def call(self, inputs: tf.Tensor, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """Unrolls the layer.

        Args:
            inputs: ``[B, T, ...]``, or ``[B, ...]`` for one step.
            initial_state: The state before the first step, packed like :attr:`state_size`; zeros if None or empty.
            mask: Bool ``[B, T]``, the steps to take, or None for all.
            training: Whether dropout is active.

        Returns:
            The outputs, ``[B, T, ...]`` or ``[B, ...]`` as the inputs, and the state after the last step.
        """
        inputs = tf.convert_to_tensor(inputs)
        has_time = inputs.shape.rank > 2
        sequence = inputs if has_time else tf.expand_dims(inputs, 1)
        if initial_state is None or not tf.nest.flatten(initial_state):
            initial_state = self.get_initial_state(sequence)
        # Keras takes a list of the cell's states, even if there is one.
        states = self._packed(initial_state)
        states = list(states) if tf.nest.is_nested(states) else [states]
        outputs, *after = self._layer(sequence, initial_state=states, mask=mask, training=training)
        if not has_time:
            outputs = tf.squeeze(outputs, 1)
        return outputs, self._packed(after)

    def compute_output_shape(self, input_shape: Any, **kwargs: Any) -> Any:
        """Returns the layer's shapes of outputs and states for inputs ``[B, T, ...]``."""
        return self._layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self._layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RNNWrapper:
        """Returns the layer that :meth:`get_config` describes."""
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})

    def _packed(self, states: Any) -> Any:
        return tf.nest.pack_sequence_as(self.state_size, tf.nest.flatten(states))
