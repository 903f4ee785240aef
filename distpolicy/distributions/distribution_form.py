"""DistributionForm: how distributions are taken apart into tensors for each row, and put together again."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.distributions.distribution_coding import decode_distribution, encode_distribution
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.utils.nests.array_nest import flatten, getters, map_structure, pack_leaves

_ROWS = 2


class DistributionForm:
    """The classes and the fixed arguments of a nest of distributions, without the tensors that differ by row.

    Args:
        distributions: Nest of distributions from TFP or distpolicy for two rows.

    Raises:
        TypeError: If it holds other distributions.
    """

    def __init__(self, distributions: Any) -> None:
        coded = [encode_distribution(item) for item in flatten(distributions)]
        self._descriptions = [description for description, _ in coded]
        # Arguments that are the same for all rows.
        self._fixed = [map_structure(_fixed, tensors) for _, tensors in coded]
        specs = [map_structure(_spec, _rows_of(tensors)) for _, tensors in coded]
        # Of numbers, since a distribution is itself a nest for TensorFlow.
        self._structure = map_structure(lambda _: 0, distributions)
        self._getters = getters(self._structure)
        self.parameters_spec = pack_leaves(self._structure, specs)

    def parameters(self, distributions: Any) -> Any:
        """Returns the tensors, nest of dicts of ``[..., *shape]`` like ``parameters_spec``."""
        return pack_leaves(
            self._structure,
            [
                _taken(encode_distribution(item)[1], spec)
                for item, spec in zip(flatten(distributions), self._of_each(self.parameters_spec), strict=True)
            ],
        )

    def distributions(self, parameters: Any) -> Any:
        """Returns the distributions with these tensors, which may have any outer dimensions."""
        made = [
            decode_distribution(description, _merged(fixed, tensors))
            for description, fixed, tensors in zip(
                self._descriptions, self._fixed, self._of_each(parameters), strict=True
            )
        ]
        return pack_leaves(self._structure, made)

    def _of_each(self, nest: Any) -> list[Any]:
        return [get(nest) for get in self._getters]


def _varies(tensor: tf.Tensor) -> bool:
    return tensor.shape.rank > 0 and tensor.shape[0] == _ROWS


def _fixed(tensor: tf.Tensor) -> Any:
    return None if _varies(tensor) else tensor.numpy()


def _rows_of(tensors: dict[str, Any]) -> dict[str, Any]:
    kept = {name: _rows_of(item) if isinstance(item, dict) else item for name, item in tensors.items()}
    return {name: item for name, item in kept.items() if (item if isinstance(item, dict) else _varies(item))}


def _spec(tensor: tf.Tensor) -> TensorSpec:
    return TensorSpec(tensor.shape[1:], tensor.dtype)


def _taken(tensors: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _taken(tensors[name], item) if isinstance(item, dict) else tensors[name] for name, item in spec.items()
    }


def _merged(fixed: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    def merge(name: str, item: Any) -> Any:
        if isinstance(item, dict):
            return _merged(item, tensors.get(name, {}))
        return tensors[name] if item is None else tf.constant(item)

    return {name: merge(name, item) for name, item in fixed.items()}
