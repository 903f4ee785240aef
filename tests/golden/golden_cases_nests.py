"""Golden cases: nest_utils and common."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome

Pair = collections.namedtuple("Pair", ["left", "right"])
OtherPair = collections.namedtuple("OtherPair", ["left", "right"])


@case("nest_utils/assert_same_structure")
def assert_same_structure(ns: Any) -> Any:
    check = ns.nest_utils.assert_same_structure
    pairs = {
        "same": ({"a": 1, "b": [2]}, {"a": 3, "b": [4]}),
        "key": ({"a": 1}, {"b": 1}),
        "length": ([1, 2], [1]),
        "leaf_for_nest": ([1], 1),
        "list_for_tuple": ([1], (1,)),
        "tuple_for_namedtuple": ((1, 2), Pair(1, 2)),
        "another_namedtuple": (OtherPair(1, 2), Pair(1, 2)),
        "namedtuple": (Pair(1, 2), Pair(3, 4)),
    }
    results = {name: outcome(lambda pair=pair: check(*pair)) for name, pair in pairs.items()}
    return {**results, "containers_unchecked": outcome(lambda: check([1], (1,), check_types=False))}


@case("nest_utils/prune_extra_keys")
def prune_extra_keys(ns: Any) -> Any:
    prune = ns.nest_utils.prune_extra_keys
    return {
        "flat": prune({"a": "a"}, {"a": 1, "b": 2}),
        "nested": prune({"a": {"b": "b"}}, {"a": {"b": 1, "c": 2}, "d": 3}),
        "in_list": prune([{"a": "a"}], [{"a": 1, "b": 2}]),
        "in_namedtuple": prune(Pair({"a": "a"}, "r"), Pair({"a": 1, "b": 2}, 3)),
        "empty": prune((), {"a": 1}),
        "leaf": prune("a", 1),
        "nothing_extra": prune({"a": ("b",)}, {"a": (1,)}),
        "missing_key": outcome(lambda: prune({"a": "a", "c": "c"}, {"a": 1})),
        "length": outcome(lambda: prune(["a"], [1, 2])),
        "container": outcome(lambda: prune(["a"], (1,))),
    }


def _spec_and_tensors() -> tuple[Any, Any]:
    spec = {"a": tf.TensorSpec((2,), tf.float32), "b": (tf.TensorSpec((), tf.int32),)}
    tensors = {"a": tf.reshape(tf.range(12.0), (2, 3, 2)), "b": (tf.reshape(tf.range(6), (2, 3)),)}
    return spec, tensors


def _at(nest: Any, *index: int) -> Any:
    for position in index:
        nest = tf.nest.map_structure(lambda leaf, position=position: leaf[position], nest)
    return nest


@case("nest_utils/outer_dims")
def outer_dims(ns: Any) -> Any:
    spec, tensors = _spec_and_tensors()
    nests = ns.nest_utils
    arrays = tf.nest.map_structure(lambda leaf: leaf.numpy(), tensors)
    array_spec = ns.tensor_spec.to_nest_array_spec(spec)
    mixed = {"a": tensors["a"], "b": _at(tensors["b"], 0)}
    return {
        "shape": nests.get_outer_shape(tensors, spec),
        "shape_unbatched": nests.get_outer_shape(_at(tensors, 0, 0), spec),
        "rank": int(nests.get_outer_rank(tensors, spec)),
        "rank_unbatched": int(nests.get_outer_rank(_at(tensors, 0, 0), spec)),
        "rank_mixed": outcome(lambda: nests.get_outer_rank(mixed, spec)),
        "array_shape": list(nests.get_outer_array_shape(arrays, array_spec)),
        "array_shape_unbatched": list(nests.get_outer_array_shape(_at(arrays, 0, 0), array_spec)),
    }


@case("nest_utils/is_batched_nested_tensors")
def is_batched(ns: Any) -> Any:
    spec, tensors = _spec_and_tensors()
    check = ns.nest_utils.is_batched_nested_tensors
    wrong = tf.nest.map_structure(lambda leaf: tf.cast(leaf, tf.float64), tensors)
    return {
        "two": check(tensors, spec, num_outer_dims=2),
        "one": check(_at(tensors, 0), spec),
        "none": check(_at(tensors, 0, 0), spec),
        "mixed": outcome(lambda: check({"a": _at(tensors["a"], 0), "b": _at(tensors["b"], 0, 0)}, spec)),
        "dtype": outcome(lambda: check(_at(wrong, 0), spec)),
        "dtype_unchecked": check(_at(wrong, 0), spec, check_dtypes=False),
        "extra": outcome(lambda: check({**_at(tensors, 0), "c": tf.zeros(3)}, spec)),
        "extra_allowed": check({**_at(tensors, 0), "c": tf.zeros(3)}, spec, allow_extra_fields=True),
    }


@case("nest_utils/batching_tensors")
def batching_tensors(ns: Any) -> Any:
    spec, tensors = _spec_and_tensors()
    nests, one = ns.nest_utils, _at(tensors, 0, 0)
    flat, _ = nests.flatten_multi_batched_nested_tensors(tensors, spec)
    return {
        "batched": nests.batch_nested_tensors(one),
        "batched_by_spec": nests.batch_nested_tensors(one, spec),
        "already_batched": outcome(lambda: nests.batch_nested_tensors(_at(tensors, 0), spec)),
        "unbatched": nests.unbatch_nested_tensors(nests.batch_nested_tensors(one)),
        "unbatched_by_spec": nests.unbatch_nested_tensors(nests.batch_nested_tensors(one), spec),
        "unbatched_to_arrays": nests.unbatch_nested_tensors_to_arrays(nests.batch_nested_tensors(one)),
        "flattened": flat,
        "unstacked": nests.unstack_nested_tensors(_at(tensors, 0), spec),
        "stacked": nests.stack_nested_tensors([one, one]),
        "stacked_behind": nests.stack_nested_tensors([one["a"], one["a"]], axis=-1),
        "split": nests.split_nested_tensors(_at(tensors, 0), spec, 3),
        "split_unevenly": nests.split_nested_tensors(_at(tensors, 0), spec, [1, 2]),
        "tiled": nests.tile_batch({"a": tf.constant([[1.0], [2.0]])}, 2),
    }


@case("nest_utils/batching_arrays")
def batching_arrays(ns: Any) -> Any:
    nests = ns.nest_utils
    one = {"a": np.array([1.0, 2.0], np.float32), "b": (np.array(3, np.int32),)}
    stacked = nests.stack_nested_arrays(
        [one, tf.nest.map_structure(lambda leaf: (leaf + leaf).astype(leaf.dtype), one)]
    )
    return {
        "batched": nests.batch_nested_array(one),
        "unbatched": nests.unbatch_nested_array(nests.batch_nested_array(one)),
        "not_of_one": outcome(lambda: nests.unbatch_nested_array(stacked)),
        "stacked": stacked,
        "unstacked": nests.unstack_nested_arrays(stacked),
        "unstacked_flat": [list(item) for item in nests.unstack_nested_arrays_into_flat_items(stacked)],
    }


@case("nest_utils/where")
def where(ns: Any) -> Any:
    pick = ns.nest_utils.where
    left = {"a": tf.ones((2, 3)), "b": [tf.constant([1, 2])]}
    right = {"a": tf.zeros((2, 3)), "b": [tf.constant([3, 4])]}
    return {
        "vector": pick(tf.constant([True, False]), left, right),
        "of_nothing": pick(tf.constant([True, False]), (), ()),
        "structure": outcome(lambda: pick(tf.constant([True, False]), left, {"a": tf.zeros((2, 3))})),
    }


@case("nest_utils/paths")
def paths(ns: Any) -> Any:
    nests = ns.nest_utils
    nest = {"b": [1, (2, 3)], "a": Pair(4, 5)}
    return {
        "joined": [[path, leaf] for path, leaf in nests.flatten_with_joined_paths(nest)],
        "has_tensors": [
            bool(nests.has_tensors(*arguments)) for arguments in (([1, tf.constant(1)],), ([np.zeros(1)],), ())
        ],
    }


@case("nest_utils/matching_dtypes_and_inner_shapes")
def matching(ns: Any) -> Any:
    spec, tensors = _spec_and_tensors()

    def check(value: Any, **options: Any) -> Any:
        names = {"caller": "caller", "tensors_name": "tensors", "specs_name": "specs"}
        return outcome(lambda: ns.nest_utils.assert_matching_dtypes_and_inner_shapes(value, spec, **names, **options))

    return {
        "same": check(tensors),
        "dtype": check({"a": tf.cast(tensors["a"], tf.float64), "b": tensors["b"]}),
        "shape": check({"a": tensors["a"][..., :1], "b": tensors["b"]}),
        "structure": check({"a": tensors["a"]}),
        "extra": check({**tensors, "c": tf.zeros(3)}),
        "extra_allowed": check({**tensors, "c": tf.zeros(3)}, allow_extra_fields=True),
    }


@case("nest_utils/remove_singleton_batch_spec_dim")
def remove_singleton(ns: Any) -> Any:
    return ns.nest_utils.remove_singleton_batch_spec_dim(tf.TensorSpec((1, 2), tf.float32, "a"), outer_ndim=1)


@case("common/replicate")
def replicate(ns: Any) -> Any:
    value = tf.constant([1, 2])
    return {
        "none": ns.common.replicate(value, tf.constant([], tf.int32)),
        "batch": ns.common.replicate(value, tf.constant([2], tf.int32)),
        "batch_and_time": ns.common.replicate(tf.constant(3.0), tf.constant([2, 3], tf.int32)),
    }


@case("common/clip_and_scale")
def clip_and_scale(ns: Any) -> Any:
    spec = ns.tensor_spec.BoundedTensorSpec((2,), tf.float32, [-2.0, 0.0], [2.0, 1.0])
    return {
        "clipped": ns.common.clip_to_spec(tf.constant([[-3.0, 3.0], [0.5, 0.5]]), spec),
        "scaled": ns.common.scale_to_spec(tf.constant([[-1.0, -1.0], [0.0, 0.5], [1.0, 1.0]]), spec),
        "means_and_magnitudes": list(ns.common.spec_means_and_magnitudes(spec)),
    }


@case("common/index_with_actions")
def index_with_actions(ns: Any) -> Any:
    values = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    deep = tf.reshape(tf.range(12.0), (2, 3, 2))
    return {
        "flat": ns.common.index_with_actions(values, tf.constant([2, 0])),
        "multi": ns.common.index_with_actions(deep, tf.constant([[2, 1], [0, 0]]), multi_dim_actions=True),
    }


@case("common/get_episode_mask")
def get_episode_mask(ns: Any) -> Any:
    step = ns.time_step.TimeStep(tf.constant([0, 1, 2, 0]), tf.zeros(4), tf.ones(4), ())
    return ns.common.get_episode_mask(step)


@case("common/element_wise_losses")
def losses(ns: Any) -> Any:
    left, right = tf.constant([0.0, 1.0, 3.0]), tf.constant([0.5, 1.0, 0.0])
    return [ns.common.element_wise_squared_loss(left, right), ns.common.element_wise_huber_loss(left, right)]


@case("common/function")
def function(ns: Any) -> Any:
    @ns.common.function
    def twice(value: Any) -> Any:
        return 2 * value

    return {"decorated": twice(tf.constant(3)), "called": ns.common.function(lambda value: value + 1)(tf.constant(3))}


_TAUS: dict[str, tuple[Any, ...]] = {
    f"tau={tau}/non_trainable={other}": (tau, other) for tau in (0.0, 0.3, 1.0) for other in (None, 0.0, 0.3, 1.0)
}


@cases("common/soft_variables_update", _TAUS)
def soft_variables_update(ns: Any, tau: float, tau_non_trainable: float | None) -> Any:
    source = [tf.Variable([1.0, 2.0]), tf.Variable(10.0, trainable=False)]
    target = [tf.Variable([5.0, 6.0]), tf.Variable(20.0, trainable=False)]
    ns.common.soft_variables_update(source, target, tau=tau, tau_non_trainable=tau_non_trainable)
    return [variable.numpy() for variable in target]


@case("common/soft_variables_update_errors")
def soft_variables_update_errors(ns: Any) -> Any:
    def update(source: Any, target: Any, **options: Any) -> Any:
        return outcome(lambda: ns.common.soft_variables_update(source, target, **options))

    one = [tf.Variable(1.0)]
    return {
        "below": update(one, one, tau=-0.1),
        "above": update(one, one, tau=1.1),
        "non_trainable_below": update(one, one, tau_non_trainable=-0.1),
        "non_trainable_above": update(one, one, tau_non_trainable=1.1),
        "count": update(one, [tf.Variable(1.0), tf.Variable(2.0)]),
        "shape": update([tf.Variable([1.0])], [tf.Variable([1.0, 2.0])]),
    }


@case("common/soft_variables_update_with_nan")
def soft_variables_update_nan(ns: Any) -> Any:
    return outcome(lambda: ns.common.soft_variables_update([tf.Variable(1.0)], [tf.Variable(2.0)], tau=float("nan")))


@case("common/soft_variables_update_of_integers")
def soft_variables_update_integers(ns: Any) -> Any:
    target = [tf.Variable(7, dtype=tf.int64, trainable=False)]

    def update() -> Any:
        ns.common.soft_variables_update([tf.Variable(3, dtype=tf.int64, trainable=False)], target, tau=0.5)
        return target[0].numpy()

    return outcome(update)


@case("common/soft_variables_update_stops_before_the_first_assignment")
def soft_variables_update_atomic(ns: Any) -> Any:
    target = [tf.Variable(5.0), tf.Variable([1.0, 2.0])]
    outcome(lambda: ns.common.soft_variables_update([tf.Variable(1.0), tf.Variable([1.0])], target))
    return target[0].numpy()
