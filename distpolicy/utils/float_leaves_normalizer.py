"""FloatLeavesNormalizer: normalises only the floats of an observation."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.specs.tensor_spec import from_spec
from distpolicy.utils.nests.checks import assert_same_structure
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer


class FloatLeavesNormalizer(StreamingTensorNormalizer):
    """Normalises leaves of floats. Images, other integers and bools stay unchanged.

    :attr:`count`, :attr:`mean` and :attr:`sum_of_squares` are lists with an entry for each leaf of floats, or just the
    entry if there is only one such leaf.

    Args:
        tensor_spec: See :class:`TensorNormalizer`; leaves may have any dtype.
        scope: See :class:`TensorNormalizer`.
        clip_value: See :class:`TensorNormalizer`.
        variance_epsilon: See :class:`TensorNormalizer`.
    """

    def __init__(
        self,
        tensor_spec: Any,
        scope: str = "normalize_tensor",
        clip_value: float = 5.0,
        variance_epsilon: float = 1e-3,
    ) -> None:
        # Avoids tf.Module's tracking, which would wrap dicts and lists.
        object.__setattr__(self, "_nest_spec", from_spec(tensor_spec))
        specs = tf.nest.flatten(self._nest_spec)
        object.__setattr__(self, "_places", [place for place, spec in enumerate(specs) if spec.dtype.is_floating])
        super().__init__(self._floats(self._nest_spec), scope, clip_value, variance_epsilon)

    @property
    def tensor_spec(self) -> Any:
        """The specs of one value."""
        return self._nest_spec

    def update(self, tensor: Any, outer_dims: Any = (0,), weights: Any = None) -> None:
        """Adds a batch to the statistics; see :meth:`TensorNormalizer.update`."""
        super().update(self._floats(tensor), outer_dims, weights)

    def normalize(
        self,
        tensor: Any,
        clip_value: float | None = None,
        center_mean: bool = True,
        variance_epsilon: float | None = None,
    ) -> Any:
        """Returns the nest with its floats normalised; see :meth:`TensorNormalizer.normalize`."""
        normalized = super().normalize(self._floats(tensor), clip_value, center_mean, variance_epsilon)
        leaves = tf.nest.flatten(tensor)
        for place, leaf in zip(self._places, tf.nest.flatten(normalized), strict=True):
            leaves[place] = leaf
        return tf.nest.pack_sequence_as(tensor, leaves)

    def _floats(self, nest: Any) -> Any:
        assert_same_structure(nest, self._nest_spec, message="the nest differs from the normaliser's spec")
        leaves = tf.nest.flatten(nest)
        floats = [leaves[place] for place in self._places]
        return floats[0] if len(floats) == 1 else floats
