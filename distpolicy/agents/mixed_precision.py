"""Mixed precision: the hidden layers of networks compute in bfloat16, and their last layers in float32.

bfloat16 has float32's range, so that losses need no scaling.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from distpolicy.errors import ConfigError
from distpolicy.networks.network import Network

_POLICY = keras.DTypePolicy("mixed_bfloat16")


def layers_in_bfloat16(networks: Sequence[Network], mixed_precision: bool) -> list[Any]:
    """Returns the hidden layers of networks, and of all networks in them, each once; none without mixed precision.

    The layers that turn an encoding into logits, means or values are not among them.

    Args:
        networks: The networks to search.
        mixed_precision: Whether the agent's user asks for mixed precision.

    Raises:
        ConfigError: If he does, and there is no such layer.
    """
    if not mixed_precision:
        return []
    found: dict[int, Any] = {}
    for network in networks:
        for module in (network, *network.submodules):
            if isinstance(module, Network):
                found |= {id(layer): layer for layer in module.hidden_layers}
    if not found:
        names = ", ".join(dict.fromkeys(network.name for network in networks))
        raise ConfigError(
            f"mixed_precision would change nothing, since {names} have no hidden_layers: leave it out, or take "
            "networks of distpolicy with hidden layers"
        )
    return list(found.values())


@contextlib.contextmanager
def in_bfloat16(layers: Sequence[Any]) -> Iterator[None]:
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
