"""NestMap: a layer for each leaf of a nest."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.networks.layer_stacks import copy_layer
from distpolicy.networks.network import Network
from distpolicy.networks.stateful_layers import call_layer, state_spec_of, with_resets
from distpolicy.utils.nest_utils import flatten_up_to
from distpolicy.utils.nests.array_nest import paths


@keras.saving.register_keras_serializable("distpolicy")
class NestFlatten(keras.layers.Layer):
    """A layer that flattens a nest into a list of its leaves."""

    def call(self, inputs: Any) -> list[tf.Tensor]:
        """Returns the leaves in ``tf.nest``'s order."""
        return tf.nest.flatten(inputs)


class NestMap(Network):
    """Passes each leaf of its inputs through a separate layer.

    Args:
        nested_layers: Nest of layers, networks and functions like those of :class:`Sequential`.
        input_spec: Nest like ``nested_layers`` of specs of one input, or None if they are not known yet.
        name: Name of the module.

    Raises:
        ValueError: If the nests differ.
        TypeError: If a layer cannot be called.
    """

    def __init__(self, nested_layers: Any, input_spec: Any = None, name: str | None = None) -> None:
        if input_spec is not None and paths(nested_layers) != paths(input_spec):
            raise ConfigError(
                f"nested_layers must be a nest like input_spec, with the leaves {paths(input_spec)}; "
                f"got {paths(nested_layers)}"
            )
        layers = tf.nest.map_structure(with_resets, nested_layers)
        specs = tf.nest.map_structure(state_spec_of, layers)
        super().__init__(input_spec, specs if tf.nest.flatten(specs) else (), name)
        # tf.Module tracks this copy, to save it, and wraps its lists and dicts. The copy below keeps the containers.
        self._nested_layers = layers
        object.__setattr__(self, "_self_layers", layers)
        object.__setattr__(self, "_self_given", nested_layers)

    @property
    def nested_layers(self) -> Any:
        """The nest of layers."""
        return self._self_layers

    def copy(self, **kwargs: Any) -> NestMap:
        """Returns a NestMap with copies of the layers, which have weights of their own. Functions are shared.

        Args:
            **kwargs: Arguments of the constructor to change.
        """
        if "nested_layers" not in kwargs:
            kwargs["nested_layers"] = tf.nest.map_structure(copy_layer, self._self_given)
        return super().copy(**kwargs)

    def call(self, inputs: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the layers' outputs.

        Args:
            inputs: Nest of ``[B, ...]`` or ``[B, T, ...]`` like ``nested_layers``.
            step_type: int32 ``[B]``, ``[B, T]`` or scalar; states are reset where it is FIRST. None for no resets.
            network_state: Nest like ``nested_layers`` of the layers' states; ``()`` if no layer has a state.
            training: Whether dropout is active.

        Returns:
            A nest of outputs and a nest of the next states, both like ``nested_layers``.
        """
        layers, values = tf.nest.flatten(self._self_layers), tf.nest.flatten(inputs)
        if tf.nest.flatten(self.state_spec):
            states = flatten_up_to(self._self_layers, network_state, check_types=False)
        else:
            states = [()] * len(layers)
        pairs = [call_layer(*item, step_type, training) for item in zip(layers, values, states, strict=True)]
        outputs, after = (tf.nest.pack_sequence_as(self._self_layers, column) for column in zip(*pairs, strict=True))
        return outputs, after if tf.nest.flatten(self.state_spec) else network_state
