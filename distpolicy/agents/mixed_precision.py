"""Mixed precision: the large layers of networks compute in bfloat16, and their last layers in float32.

bfloat16 has float32's range, so that losses need no scaling.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from distpolicy.keras_layers.dynamic_unroll_layer import DynamicUnroll
from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.network import Network

_POLICY = "mixed_bfloat16"
_KINDS = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)


def encoder_layers(networks: Sequence[Network]) -> list[keras.Layer]:
    """Returns the dense layers, convolutions and cells of all encoders in networks.

    The layers that turn an encoding into logits, means or values are not included.

    Args:
        networks: The networks to search.
    """
    found: dict[int, keras.Layer] = {}
    for network in networks:
        for module in (network, *network.submodules):
            if isinstance(module, EncodingNetwork | LSTMEncodingNetwork):
                for held in tf.nest.flatten(list(vars(module).values())):
                    found |= {id(layer): layer for layer in _parts(held)}
    return list(found.values())


def _parts(held: object) -> list[keras.Layer]:
    if isinstance(held, DynamicUnroll):
        return list(getattr(held.cell, "cells", [held.cell]))
    return [held] if isinstance(held, _KINDS) else []


@contextlib.contextmanager
def in_bfloat16(layers: Sequence[keras.Layer]) -> Iterator[None]:
    """Makes layers compute in bfloat16 inside the ``with`` block; their variables stay float32.

    Args:
        layers: Layers of float32.
    """
    before = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = _POLICY
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy
