"""Golden cases: tensor normalizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, outcome

_BATCHES = [
    np.array([[1.0, -2.0], [3.0, 2.0], [5.0, 0.0]], np.float32),
    np.array([[10.0, 4.0], [0.0, 1.0]], np.float32),
]
_PROBE = np.array([[2.0, 1.0], [100.0, -100.0]], np.float32)


def _spec() -> Any:
    return tf.TensorSpec((2,), tf.float32, "observation")


def _after_updates(normalizer: Any) -> Any:
    for batch in _BATCHES:
        normalizer.update(tf.constant(batch))
    return {
        "plain": normalizer.normalize(tf.constant(_PROBE), clip_value=5.0, variance_epsilon=1e-3),
        "unclipped": normalizer.normalize(tf.constant(_PROBE), clip_value=0.0, variance_epsilon=1e-3),
        "uncentred": normalizer.normalize(
            tf.constant(_PROBE), clip_value=0.0, center_mean=False, variance_epsilon=1e-3
        ),
        "epsilon": normalizer.normalize(tf.constant(_PROBE), clip_value=1.0, variance_epsilon=1.0),
    }


@case("tensor_normalizer/streaming")
def streaming(ns: Any) -> Any:
    return _after_updates(ns.tensor_normalizer.StreamingTensorNormalizer(_spec()))


@case("tensor_normalizer/ema")
def ema(ns: Any) -> Any:
    return _after_updates(ns.tensor_normalizer.EMATensorNormalizer(_spec(), norm_update_rate=0.25))


@case("tensor_normalizer/ema_before_the_first_update")
def ema_before(ns: Any) -> Any:
    return ns.tensor_normalizer.EMATensorNormalizer(_spec()).normalize(
        tf.constant(_PROBE), clip_value=5.0, variance_epsilon=1e-3
    )


@case("tensor_normalizer/streaming_before_the_first_update")
def streaming_before(ns: Any) -> Any:
    return ns.tensor_normalizer.StreamingTensorNormalizer(_spec()).normalize(
        tf.constant(_PROBE), clip_value=0.0, variance_epsilon=1e-3
    )


@case("tensor_normalizer/defaults_of_normalize")
def defaults(ns: Any) -> Any:
    normalizer = ns.tensor_normalizer.EMATensorNormalizer(_spec())
    return normalizer.normalize(tf.constant(_PROBE))


@case("tensor_normalizer/nested")
def nested(ns: Any) -> Any:
    spec = {"a": _spec(), "b": [tf.TensorSpec((), tf.float32)]}
    normalizer = ns.tensor_normalizer.StreamingTensorNormalizer(spec)
    batch = {"a": tf.constant(_BATCHES[0]), "b": [tf.constant([1.0, 2.0, 6.0])]}
    normalizer.update(batch)
    wrong = {"a": tf.constant(_BATCHES[0])}
    return {
        "normalized": normalizer.normalize(batch, clip_value=0.0, variance_epsilon=1e-3),
        "structure": outcome(lambda: normalizer.normalize(wrong)),
        "update_structure": outcome(lambda: normalizer.update(wrong)),
    }


@case("tensor_normalizer/two_outer_dims")
def two_outer_dims(ns: Any) -> Any:
    normalizer = ns.tensor_normalizer.EMATensorNormalizer(_spec(), norm_update_rate=0.5)
    batch = tf.reshape(tf.range(12.0), (2, 3, 2))
    normalizer.update(batch, outer_dims=(0, 1))
    return normalizer.normalize(batch, clip_value=0.0, variance_epsilon=1e-3)


@case("tensor_normalizer/integer_observation")
def integers(ns: Any) -> Any:
    normalizer = ns.tensor_normalizer.EMATensorNormalizer(tf.TensorSpec((), tf.int32), norm_update_rate=0.5)
    normalizer.update(tf.constant([0, 4]))
    return normalizer.normalize(tf.constant([1, 3]), clip_value=0.0, variance_epsilon=1e-3)
