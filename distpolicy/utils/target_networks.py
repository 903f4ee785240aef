"""Checks of a network and its target. As in TF-Agents, ``utils.common`` exports them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.utils.variables.creation import extract_shared_variables


def maybe_copy_target_network_with_checks(
    network: Any, target_network: Any = None, name: str | None = None, input_spec: Any = None
) -> Any:
    """Returns the target network, or a copy of the network if there is none, with variables of its own.

    Args:
        network: A Network.
        target_network: Its target; None for a copy.
        name: Name of the copy.
        input_spec: Nest of specs of the copy's input; None for the network's.

    Raises:
        ValueError: If both share trainable variables, or have different inputs or variables.
    """
    if target_network is None:
        target_network = network.copy(name=name)
        target_network.create_variables(input_spec)
    check_no_shared_variables(network, target_network)
    check_matching_networks(network, target_network)
    return target_network


def check_no_shared_variables(network_1: Any, network_2: Any) -> None:
    """Checks that two networks share no trainable variable.

    Raises:
        ValueError: If they do. The message names the variables.
    """
    _, _, shared = extract_shared_variables(network_1.trainable_variables, network_2.trainable_variables)
    if shared:
        raise ConfigError(
            f"{network_1.name} and {network_2.name} share {', '.join(item.name for item in shared)}; build each with "
            f"layers of its own"
        )


def check_matching_networks(network_1: Any, network_2: Any) -> None:
    """Checks that two networks have the same inputs, and variables of the same shapes and dtypes.

    Raises:
        ValueError: If they have not.
    """
    if network_1.input_tensor_spec != network_2.input_tensor_spec:
        raise ConfigError(
            f"{network_1.name} and {network_2.name} have different inputs: {network_1.input_tensor_spec} and "
            f"{network_2.input_tensor_spec}"
        )
    kinds = [
        [(variable.shape, tf.as_dtype(variable.dtype)) for variable in network.variables]
        for network in (network_1, network_2)
    ]
    if kinds[0] != kinds[1]:
        raise ConfigError(f"{network_1.name} and {network_2.name} have different variables: {kinds[0]} and {kinds[1]}")


def deduped_network_variables(network: Any, *args: Any) -> list[tf.Variable]:
    """Returns the network's variables that none of the other networks has."""
    others = {id(variable) for other in args for variable in other.variables}
    return [variable for variable in network.variables if id(variable) not in others]
