"""Functions that split observations into a network's input and a mask of actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import SpecMismatchError
from distpolicy.policies.splitting import split_observation, splitter_error
from distpolicy.specs import tensor_spec

Splitter = Callable[[Any], tuple[Any, Any]] | None


def num_values(spec: Any) -> int:
    """Returns the number of values of a bounded scalar integer spec."""
    return int(np.asarray(spec.maximum).item()) - int(np.asarray(spec.minimum).item()) + 1


def network_input_spec(observation_spec: Any, splitter: Splitter, action_spec: Any) -> Any:
    """Returns the specs of the network's input.

    A splitter that only picks parts of an observation takes specs as well as tensors. One that computes, such as by
    slicing an array, gets tensors.

    Args:
        observation_spec: Nest of specs of one observation.
        splitter: Function from an observation to the network's input and a mask of actions; None for no masks.
        action_spec: Spec of the action that masks are for.

    Raises:
        ConfigError: If the splitter fails, or does not return a pair.
        SpecMismatchError: If the mask does not have an entry for each action.
    """
    if splitter is None:
        return observation_spec
    try:
        network_input, mask = splitter(observation_spec)
        specs = tf.nest.map_structure(_spec_or_error, network_input)
        shape = _spec_or_error(mask).shape
    except Exception:  # A function that was written for tensors may raise anything.
        zeros = tensor_spec.zero_spec_nest(observation_spec, [1])
        try:
            network_input, mask = splitter(zeros)
            specs = tf.nest.map_structure(_spec_without_batch, network_input)
            shape = tf.convert_to_tensor(mask).shape
        except Exception as error:
            raise splitter_error(error, "tensors [B, ...], such as zeros like the observation") from error
    _check_width(shape, action_spec)
    return specs


def split_mask(splitter: Splitter, observation: Any, action_spec: Any) -> tuple[Any, Any]:
    """Splits an observation into the network's input and the mask; the mask is None without a splitter.

    Raises:
        ConfigError: If the splitter fails, or does not return a pair.
        SpecMismatchError: If the mask does not have an entry for each action.
    """
    if splitter is None:
        return observation, None
    network_input, mask = split_observation(splitter, observation)
    _check_width(tf.convert_to_tensor(mask).shape, action_spec)
    return network_input, mask


def _check_width(shape: tf.TensorShape, action_spec: Any) -> None:
    if shape.rank is None or not tensor_spec.is_bounded(action_spec) or action_spec.shape.num_elements() != 1:
        # A network for several elements may have masks of its own kind.
        return
    num_actions = num_values(action_spec)
    if not shape[-1:].is_compatible_with([num_actions]):
        raise SpecMismatchError(
            f"action_spec has {num_actions} actions, but the mask has shape {shape}; make the last dimension of what "
            f"observation_and_action_constraint_splitter returns as mask {num_actions}"
        )


def _spec_or_error(item: Any) -> Any:
    if not isinstance(item, tf.TensorSpec):
        raise TypeError(f"a {type(item).__name__} is not a spec")
    return item


def _spec_without_batch(item: Any) -> tf.TensorSpec:
    tensor = tf.convert_to_tensor(item)
    return tensor_spec.TensorSpec(tensor.shape[1:], tensor.dtype)
