"""The settings of an agent's networks. This module needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distpolicy.errors import ConfigError

Activation = Literal["tanh", "relu", "elu", "silu", "gelu"]


@dataclass(frozen=True)
class NetworkConfig:
    """The networks that an agent's policy is made of; what else an agent has is in its own settings."""

    actor_units: tuple[int, ...] = (64, 64)
    """Width of each dense layer of the actor."""
    recurrent: Literal["none", "lstm", "gru"] = "none"
    """Recurrent cells before the actor's own layers, which all networks of an agent share; their state is carried from
    rollout to rollout."""
    recurrent_units: tuple[int, ...] = (64,)
    """Size of each recurrent cell; several are stacked."""
    encoder_units: tuple[int, ...] = ()
    """Width of each dense layer that all networks of an agent share, after the convolutions and before the recurrent
    cells."""
    conv_layers: tuple[tuple[int, int, int], ...] = ()
    """Filters, kernel size and stride of each convolution over images, which all networks of an agent share; if none is
    given: 32 8 4 64 4 2 64 3 1 (Mnih et al., 2015) for images of 36x36 or more, and smaller ones for smaller images."""
    activation: Activation = "tanh"
    """Activation of the dense layers."""
    continuous: Literal["clipped_normal", "tanh_normal"] = "clipped_normal"
    """Distribution of continuous actions: a normal whose samples are clipped to the bounds, or one squashed by tanh."""

    def __post_init__(self) -> None:
        for name in ("actor_units", "recurrent_units", "encoder_units"):
            check_widths(f"network.{name}", getattr(self, name))
        if any(number < 1 for layer in self.conv_layers for number in layer):
            raise ConfigError(f"network.conv_layers must be numbers of 1 or more, but is {self.conv_layers}")
        if self.recurrent != "none" and not self.recurrent_units:
            raise ConfigError(f"network.recurrent {self.recurrent} needs a cell: give network.recurrent_units")

    @property
    def is_recurrent(self) -> bool:
        """Whether the policy has a state."""
        return self.recurrent != "none"


def check_widths(name: str, widths: tuple[int, ...]) -> None:
    """Refuses layers without units.

    Args:
        name: The setting, for the message.
        widths: Width of each layer.

    Raises:
        ConfigError: If a width is below 1.
    """
    if any(width < 1 for width in widths):
        raise ConfigError(f"{name} must be widths of 1 or more, but is {widths}")
