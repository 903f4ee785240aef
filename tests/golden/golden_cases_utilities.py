"""Golden cases: value operations, sparse tensors, gradients, encoded examples, distributions' parameters and layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from golden_registry import case, cases, outcome

_REWARDS = np.array([[1.0, -2.0], [0.5, 3.0], [-4.0, 0.25]], np.float32)
_DISCOUNTS = np.array([[0.9, 0.5], [0.0, 1.0], [0.7, 0.8]], np.float32)
_VALUES = np.array([[0.3, 0.1], [-0.7, 2.0], [1.5, -0.25]], np.float32)
_FINAL = np.array([2.0, -1.0], np.float32)
_DENSE = np.array([[[0, 1, 0], [2, 0, 3]], [[0, 0, 0], [4, 5, 0]]], np.int64)
_LOGITS = np.array([[0.2, 1.5, -0.3], [0.7, 0.1, 2.0]], np.float32)


@cases("value_ops/discounted_return", {"all": (True,), "first": (False,)})
def discounted_return(ns: Any, all_returns: bool) -> Any:
    function = ns.value_ops.discounted_return
    turned = [tf.constant(array.T) for array in (_REWARDS, _DISCOUNTS)]
    return {
        "plain": function(tf.constant(_REWARDS), tf.constant(_DISCOUNTS), provide_all_returns=all_returns),
        "final": function(
            tf.constant(_REWARDS), tf.constant(_DISCOUNTS), tf.constant(_FINAL), provide_all_returns=all_returns
        ),
        "turned": function(*turned, time_major=False, provide_all_returns=all_returns),
        "vector": function(tf.constant(_REWARDS[:, 0]), tf.constant(_DISCOUNTS[:, 0]), provide_all_returns=all_returns),
    }


@cases("value_ops/generalized_advantage_estimation", {"time_major": (True,), "batch_major": (False,)})
def advantages(ns: Any, time_major: bool) -> Any:
    values, discounts, rewards = (
        tf.constant(array if time_major else array.T) for array in (_VALUES, _DISCOUNTS, _REWARDS)
    )
    return ns.value_ops.generalized_advantage_estimation(
        values, tf.constant(_FINAL), discounts, rewards, td_lambda=0.8, time_major=time_major
    )


@cases("composite", {"dense": (False,), "sparse": (True,)})
def composite(ns: Any, sparse: bool) -> Any:
    module, tensor = ns.composite, tf.sparse.from_dense(_DENSE) if sparse else tf.constant(_DENSE)

    def dense(value: Any) -> Any:
        return tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value

    return {
        "shape": module.shape(tensor),
        "reshape": dense(module.reshape(tensor, [4, 3])),
        "squeeze": dense(module.squeeze(module.expand_dims(tensor, 0), 0)),
        "from": [dense(module.slice_from(tensor, axis, 1)) for axis in range(3)],
        "to": [dense(module.slice_to(tensor, axis, -1)) for axis in range(3)],
    }


@case("eager_utils/clip_gradient_norms")
def clip(ns: Any) -> Any:
    variable = tf.Variable([1.0, 2.0])
    pairs = [(tf.constant([3.0, 4.0]), variable), (None, variable), (tf.constant([0.3, 0.4]), variable)]
    return [gradient for gradient, _ in ns.eager_utils.clip_gradient_norms_fn(1.0)(pairs)]


@case("eager_utils/np_function")
def np_function(ns: Any) -> Any:
    add = ns.eager_utils.np_function(lambda x, y: {"sum": x + y, "first": (x[0],)})
    inputs = tf.constant([1, 2]), tf.constant([3, 4])
    return [add(*inputs), tf.function(add, autograph=False)(*inputs)]


def _example_spec(ns: Any) -> Any:
    spec = ns.array_spec.ArraySpec
    return {"a": spec((2,), np.float32), "b": (spec((2, 1), np.int64), spec((), np.uint8), spec((3,), np.float64))}


def _example(scale: int) -> Any:
    return {
        "a": np.array([1.5, 2.5], np.float32) * scale,
        "b": (np.array([[1], [2]]) * scale, np.uint8(7 * scale), np.array([0.1, 0.2, 0.3]) * scale),
    }


@case("example_encoding/bytes")
def encoded(ns: Any) -> Any:
    message = ns.example_encoding.get_example_encoder(_example_spec(ns))(_example(1))
    features = message.features.feature
    return {
        name: [
            list(features[name].float_list.value),
            list(features[name].int64_list.value),
            [value.hex() for value in features[name].bytes_list.value],
        ]
        for name in sorted(features)
    }


@case("example_encoding/decoded")
def decoded(ns: Any) -> Any:
    spec = _example_spec(ns)
    serialize = ns.example_encoding.get_example_serializer(spec)
    return {
        "one": ns.example_encoding.get_example_decoder(spec)(serialize(_example(2))),
        "batch": ns.example_encoding.get_example_decoder(spec, batched=True)(
            tf.constant([serialize(_example(1)), serialize(_example(2))])
        ),
        "wrong": outcome(lambda: serialize({**_example(1), "a": np.zeros(3, np.float32)})),
    }


@case("numpy_storage/table")
def storage(ns: Any) -> Any:
    table = ns.numpy_storage.NumpyStorage(_example_spec(ns), 3)
    table.set(1, _example(3))
    return {"one": table.get(1), "many": table.get(np.array([0, 1])), "wrong": outcome(lambda: _tensor_table(ns))}


def _tensor_table(ns: Any) -> Any:
    return ns.numpy_storage.NumpyStorage(tf.TensorSpec((), tf.float32), 1)


@case("gumbel_softmax")
def gumbel_softmax(ns: Any) -> Any:
    distribution = ns.gumbel_softmax.GumbelSoftmax(0.5, logits=_LOGITS, dtype=tf.int64)
    drawn = ns.reparameterized_sampling.sample(distribution)
    return {
        "mode": distribution.mode(),
        "discrete": distribution.log_prob(tf.constant([[0, 1, 0], [1, 0, 0]])),
        "relaxed": distribution.log_prob(tf.constant([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1]])),
        "one_hot": distribution.convert_to_one_hot(tf.constant(_LOGITS)),
        "drawn": [drawn.dtype, tf.reduce_sum(drawn, axis=-1)],
        "no_gradient": outcome(
            lambda: ns.reparameterized_sampling.sample(tfp.distributions.Categorical(logits=_LOGITS), reparam=True)
        ),
    }


@case("tensor_normalizer/parallel_variance_calculation")
def parallel_variance(ns: Any) -> Any:
    function = ns.tensor_normalizer.parallel_variance_calculation
    return function(3.0, _FINAL, np.float32(2.0), 5.0, _FINAL[::-1], np.float32(7.0), np.float32(0.25))


@cases("expand_dims_layer", {f"axis={axis}": (axis,) for axis in (-2, -1, 0, 1)})
def expand_dims(ns: Any, axis: int) -> Any:
    return ns.expand_dims_layer.ExpandDims(axis)(tf.constant(_DENSE, tf.float32))


@case("squashed_outer_wrapper")
def squashed(ns: Any) -> Any:
    # On legacy Keras and on Keras 3 alike.
    layer = ns.squashed_outer_wrapper.SquashedOuterWrapper(
        tf.keras.layers.Dense(2, kernel_initializer="ones", bias_initializer="ones"), inner_rank=1
    )
    return {
        "sequence": layer(tf.constant(_DENSE, tf.float32)),
        "batch": layer(tf.constant(_DENSE[0], tf.float32)),
        "rank": layer.inner_rank,
        "recurrent": outcome(lambda: ns.squashed_outer_wrapper.SquashedOuterWrapper(tf.keras.layers.LSTMCell(2), 1)),
    }


@case("rnn_wrapper")
def rnn_wrapper(ns: Any) -> Any:
    def made(**arguments: Any) -> Any:
        return ns.rnn_wrapper.RNNWrapper(
            tf.keras.layers.LSTM(2, kernel_initializer="ones", recurrent_initializer="ones", **arguments)
        )

    layer = made(return_state=True, return_sequences=True)
    return {
        "sequence": layer(tf.constant(_DENSE / 10.0, tf.float32)),
        "step": layer(tf.constant(_DENSE[0] / 10.0, tf.float32)),
        "no_state": outcome(lambda: made(return_sequences=True)),
        "last_only": outcome(lambda: made(return_state=True)),
        "dense": outcome(lambda: ns.rnn_wrapper.RNNWrapper(tf.keras.layers.Dense(2))),
    }
