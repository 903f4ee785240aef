"""One way to call layers, networks and functions, with or without a state."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.keras_layers.arguments import takes_training
from distpolicy.keras_layers.dynamic_unroll_layer import DynamicUnroll
from distpolicy.networks.network import Network
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import StepType


def with_resets(layer: Any) -> Any:
    """Wraps a recurrent Keras layer or cell so that its state can be reset. Returns other layers unchanged.

    Raises:
        ValueError: If a recurrent layer does not return sequences, goes backwards or keeps its own state.
        TypeError: If the layer cannot be called.
    """
    if not callable(layer):
        raise TypeError(f"expected a Keras layer, a Network or a function, got {type(layer).__name__}")
    if isinstance(layer, keras.layers.RNN):
        if not layer.return_sequences or layer.go_backwards or layer.stateful:
            raise ConfigError(
                f"recurrent layer {layer.name} must have return_sequences=True, and neither go_backwards nor stateful"
            )
        return DynamicUnroll(layer.cell)
    is_cell = isinstance(layer, keras.Layer) and hasattr(layer, "state_size") and not isinstance(layer, DynamicUnroll)
    return DynamicUnroll(layer) if is_cell else layer


def state_spec_of(layer: Any) -> Any:
    """Returns a nest of the specs of the layer's state, ``()`` for a layer without one.

    A cell with one state, such as a GRU, has its spec, and a cell with several a tuple of them. Stacked cells have a
    tuple.
    """
    if isinstance(layer, Network):
        return layer.state_spec
    if not isinstance(layer, DynamicUnroll):
        return ()
    sizes, dtype = layer.state_size, layer.compute_dtype

    def of_cell(cell: Any) -> Any:
        specs = tuple(tensor_spec.TensorSpec((size,), dtype) for size in cell)
        return specs[0] if len(specs) == 1 else specs

    return of_cell(sizes) if isinstance(sizes, list) else tuple(of_cell(cell) for cell in sizes)


def call_layer(
    layer: Any, inputs: Any, state: Any, step_type: Any, training: bool, mask: Any = None
) -> tuple[Any, Any]:
    """Returns the layer's outputs and its next state.

    Args:
        layer: A result of :func:`with_resets`.
        inputs: Nest of tensors.
        state: Nest like :func:`state_spec_of`.
        step_type: int32 of the outer dimensions, or None for no resets.
        training: Whether dropout is active.
        mask: Mask of actions, for a Network that takes one; None for no mask.
    """
    if isinstance(layer, Network):
        return layer(inputs, step_type=step_type, network_state=state, training=training, mask=mask)
    if isinstance(layer, DynamicUnroll):
        reset_mask = None if step_type is None else tf.equal(step_type, StepType.FIRST)
        outputs, after = layer(inputs, initial_state=state, reset_mask=reset_mask, training=training)
        return outputs, tf.nest.pack_sequence_as(state_spec_of(layer), tf.nest.flatten(after))
    if isinstance(layer, keras.Layer) and takes_training(layer):
        return layer(inputs, training=training), state
    return layer(inputs), state
