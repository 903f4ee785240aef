"""DistributionSpec: describes how to build a distribution from tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow.python.util.nest import flatten_up_to


class DistributionSpec:
    """A distribution's builder with the specs of its parameters and of a draw.

    Args:
        builder: Function that takes the parameters by name and returns a distribution.
        input_params_spec: Dict of specs of the parameters that are tensors.
        sample_spec: Spec of one draw.
        **distribution_parameters: The builder's other arguments.
    """

    def __init__(
        self,
        builder: Callable[..., tfp.distributions.Distribution],
        input_params_spec: Any,
        sample_spec: Any,
        **distribution_parameters: Any,
    ) -> None:
        self._builder = builder
        self._input_params_spec = input_params_spec
        self._sample_spec = sample_spec
        self._distribution_parameters = distribution_parameters

    @property
    def builder(self) -> Callable[..., tfp.distributions.Distribution]:
        """The function that builds the distribution."""
        return self._builder

    @property
    def input_params_spec(self) -> Any:
        """Specs of the parameters that are tensors."""
        return self._input_params_spec

    @property
    def sample_spec(self) -> Any:
        """Spec of one draw."""
        return self._sample_spec

    def build_distribution(self, **distribution_parameters: Any) -> tfp.distributions.Distribution:
        """Builds the distribution from these parameters and the constructor's. These take precedence."""
        return self._builder(**{**self._distribution_parameters, **distribution_parameters})

    def __repr__(self) -> str:
        name = getattr(self._builder, "__name__", repr(self._builder))
        return f"DistributionSpec({name}, {self._input_params_spec}, {self._sample_spec})"


def deterministic_distribution_from_spec(spec: Any) -> DistributionSpec:
    """Returns the spec of a distribution with ``loc`` as its only value."""
    return DistributionSpec(tfp.distributions.Deterministic, {"loc": spec}, sample_spec=spec)


def nested_distributions_from_specs(specs: Any, parameters: Any) -> Any:
    """Builds a nest of distributions.

    Args:
        specs: Nest of :class:`DistributionSpec`.
        parameters: Nest like ``specs`` of dicts of parameters.
    """
    flat = flatten_up_to(specs, parameters)
    built = [spec.build_distribution(**given) for spec, given in zip(tf.nest.flatten(specs), flat, strict=True)]
    return tf.nest.pack_sequence_as(specs, built)
