"""Golden cases: array specs and tensor specs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome


@case("array_spec/construction")
def construction(ns: Any) -> Any:
    spec = ns.array_spec
    return {
        "plain": spec.ArraySpec((2, None), np.float32, "observation"),
        "from_array": spec.ArraySpec.from_array(np.zeros((2, 3), np.uint8), "image"),
        "from_array_of_scalar": spec.ArraySpec.from_array(np.float64(1.0)),
        "from_spec": spec.ArraySpec.from_spec(spec.BoundedArraySpec((2,), np.int32, 0, 3, "action")),
        "replaced": spec.ArraySpec((2,), np.float32, "a").replace(shape=(3,), name="b"),
        "bounded": spec.BoundedArraySpec((2,), np.float32, [-1, -2], 3, "action"),
        "bounded_from_spec": spec.BoundedArraySpec.from_spec(spec.BoundedArraySpec((), np.int32, 0, 3)),
        "bounded_replaced": spec.BoundedArraySpec((), np.int32, 0, 3, "a").replace(name="b"),
        "default_bounds": spec.BoundedArraySpec((), np.int8),
        "shape": spec.ArraySpec((2,), np.float32).shape,
        "dtype": spec.ArraySpec((2,), "float32").dtype,
    }


@case("array_spec/infinite_bounds_become_the_dtypes_own")
def infinite_bounds(ns: Any) -> Any:
    bounded = ns.array_spec.BoundedArraySpec((2,), np.float32, -np.inf, [1.0, np.inf])
    return {"minimum": bounded.minimum, "maximum": bounded.maximum, "writeable": bounded.minimum.flags.writeable}


@case("array_spec/equality")
def equality(ns: Any) -> Any:
    spec = ns.array_spec
    plain = spec.ArraySpec((2,), np.float32, "a")
    bounded = spec.BoundedArraySpec((2,), np.float32, 0, 1, "a")
    return {
        "another_name": plain == spec.ArraySpec((2,), np.float32, "b"),
        "another_shape": plain == spec.ArraySpec((3,), np.float32, "a"),
        "another_dtype": plain == spec.ArraySpec((2,), np.float64, "a"),
        "not_equal": plain != spec.ArraySpec((3,), np.float32, "a"),
        "another_object": plain == 3,
        "same_bounds": bool(bounded == spec.BoundedArraySpec((2,), np.float32, 0, 1, "b")),
        "other_bounds": bool(bounded == spec.BoundedArraySpec((2,), np.float32, 0, 2, "a")),
        "bounds_of_another_shape_and_same_value": bool(
            bounded == spec.BoundedArraySpec((2,), np.float32, [0, 0], [1, 1])
        ),
        "hash": outcome(lambda: hash(plain)),
    }


@case("array_spec/num_values")
def num_values(ns: Any) -> Any:
    spec = ns.array_spec
    return {
        "scalar": spec.BoundedArraySpec((), np.int32, 2, 5).num_values,
        "vector": spec.BoundedArraySpec((3,), np.int64, [0, 1, 2], [4, 4, 4]).num_values,
        "float": outcome(lambda: spec.BoundedArraySpec((), np.float32, 0, 1).num_values),
    }


@case("array_spec/errors")
def errors(ns: Any) -> Any:
    def make(*arguments: Any) -> Any:
        return outcome(lambda: ns.array_spec.BoundedArraySpec(*arguments).name)

    return {
        "minimum_above_maximum": make((), np.float32, 2, 1),
        "minimum_does_not_broadcast": make((2,), np.float32, [0, 0, 0], 1),
        "maximum_does_not_broadcast": make((2,), np.float32, 0, [1, 1, 1]),
        "outside_the_dtype": make((), np.uint8, -1, 3),
        "above_the_dtype": make((), np.uint8, 0, 256),
        "unknown_dtype": outcome(lambda: ns.array_spec.ArraySpec((), "no such dtype").name),
    }


@case("array_spec/check_array")
def check_array(ns: Any) -> Any:
    spec = ns.array_spec
    plain = spec.ArraySpec((2,), np.float32)
    bounded = spec.BoundedArraySpec((2,), np.int32, 0, 3)
    return {
        "right": plain.check_array(np.zeros(2, np.float32)),
        "dtype": plain.check_array(np.zeros(2, np.float64)),
        "shape": plain.check_array(np.zeros(3, np.float32)),
        "list": plain.check_array([0.0, 0.0]),
        "within": bool(bounded.check_array(np.array([0, 3], np.int32))),
        "outside": bool(bounded.check_array(np.array([0, 4], np.int32))),
        "nest": spec.check_arrays_nest({"a": np.zeros(2, np.float32)}, {"a": plain}),
        "nest_of_another_structure": spec.check_arrays_nest({"b": np.zeros(2, np.float32)}, {"a": plain}),
        "nest_outside": spec.check_arrays_nest([np.array([0, 4], np.int32)], [bounded]),
    }


@case("array_spec/kinds")
def kinds(ns: Any) -> Any:
    spec = ns.array_spec
    specs = {
        "float": spec.ArraySpec((), np.float32),
        "bounded_int": spec.BoundedArraySpec((), np.int32, 0, 1),
        "uint8": spec.ArraySpec((), np.uint8),
    }
    return {
        name: [bool(is_kind(item)) for is_kind in (spec.is_bounded, spec.is_discrete, spec.is_continuous)]
        for name, item in specs.items()
    }


@case("array_spec/add_outer_dims_nest")
def array_add_outer_dims(ns: Any) -> Any:
    spec = ns.array_spec
    nest = {
        "a": spec.ArraySpec((2,), np.float32, "a"),
        "b": [spec.BoundedArraySpec((2,), np.int32, [0, 1], [2, 3], "b")],
    }
    return {"added": spec.add_outer_dims_nest(nest, (4, 5)), "list": outcome(lambda: spec.add_outer_dims_nest(nest, 4))}


@cases(
    "array_spec/sample_spec_nest",
    {
        "float": (np.float32, -2.0, 3.0),
        "int": (np.int32, -2, 2),
        "uint8": (np.uint8, 0, 255),
        "int64": (np.int64, 5, 7),
    },
)
def array_samples(ns: Any, dtype: Any, minimum: Any, maximum: Any) -> Any:
    spec = ns.array_spec.BoundedArraySpec((3,), dtype, minimum, maximum)
    nest = {"x": spec, "y": (ns.array_spec.BoundedArraySpec((), dtype, minimum, maximum),)}
    sample = ns.array_spec.sample_spec_nest(nest, np.random.RandomState(0), outer_dims=(200,))
    x = sample["x"]
    seen_all = x.dtype.kind != "f" and (int(maximum) - int(minimum) > 9 or len(np.unique(x)) == maximum - minimum + 1)
    return {
        "shapes": [list(x.shape), list(sample["y"][0].shape)],
        "dtypes": [x.dtype, sample["y"][0].dtype],
        "within": [bool(np.all(x >= minimum)), bool(np.all(x <= maximum))],
        "reaches_both_integer_ends": bool(seen_all),
        "unbatched": list(ns.array_spec.sample_bounded_spec(spec, np.random.RandomState(0)).shape),
    }


@case("array_spec/sample_per_element_integer_bounds_of_a_batch")
def array_samples_per_element(ns: Any) -> Any:
    spec = ns.array_spec.BoundedArraySpec((2,), np.int32, [0, 10], [1, 11])

    def shape() -> Any:
        return list(ns.array_spec.sample_spec_nest(spec, np.random.RandomState(0), outer_dims=(4,)).shape)

    return outcome(shape)


@case("array_spec/sample_full_range_of_uint64")
def array_samples_full_range(ns: Any) -> Any:
    spec = ns.array_spec.BoundedArraySpec((), np.uint64)
    return outcome(lambda: ns.array_spec.sample_bounded_spec(spec, np.random.RandomState(0)).dtype)


def _nest(ns: Any) -> Any:
    spec = ns.array_spec
    return {
        "plain": spec.ArraySpec((2,), np.float32, "plain"),
        "bounded": [spec.BoundedArraySpec((2,), np.int64, 0, [3, 4], "bounded")],
        "scalar": (spec.BoundedArraySpec((), np.float32, -1, 1),),
    }


@case("tensor_spec/from_spec")
def from_spec(ns: Any) -> Any:
    converted = ns.tensor_spec.from_spec(_nest(ns))
    return {
        "converted": converted,
        "kept": ns.tensor_spec.from_spec(tf.TensorSpec((1,), tf.float32, "kept")),
        "empty": ns.tensor_spec.from_spec(()),
        "back": ns.tensor_spec.to_nest_array_spec(converted),
        "array_of_array": ns.tensor_spec.to_array_spec(ns.array_spec.ArraySpec((2,), np.float32, "a")),
        "open": ns.tensor_spec.to_array_spec(tf.TensorSpec((None, 2), tf.float32)),
        "number": outcome(lambda: ns.tensor_spec.from_spec(3)),
        "array": outcome(lambda: ns.tensor_spec.from_spec({"a": np.zeros(2)})),
    }


@case("tensor_spec/equality")
def tensor_equality(ns: Any) -> Any:
    plain, bounded = ns.tensor_spec.TensorSpec, ns.tensor_spec.BoundedTensorSpec
    return {
        "same": plain((2,), tf.float32, "a") == plain((2,), tf.float32, "a"),
        "another_name": plain((2,), tf.float32, "a") == plain((2,), tf.float32, "b"),
        "bounded": bounded((2,), tf.float32, 0, 1, "a") == bounded((2,), tf.float32, 0, 1, "a"),
        "other_bounds": bounded((2,), tf.float32, 0, 1, "a") == bounded((2,), tf.float32, 0, 2, "a"),
        "is_tf": plain is tf.TensorSpec,
        "does_not_broadcast": outcome(lambda: bounded((2,), tf.float32, [0, 0, 0], 1).name),
    }


@case("tensor_spec/kinds")
def tensor_kinds(ns: Any) -> Any:
    spec = ns.tensor_spec
    specs = {
        "float": spec.TensorSpec((), tf.float32),
        "bounded_int": spec.BoundedTensorSpec((), tf.int32, 0, 1),
        "uint8": spec.TensorSpec((), tf.uint8),
        "array": ns.array_spec.BoundedArraySpec((), np.int32, 0, 1),
    }
    return {
        name: [bool(is_kind(item)) for is_kind in (spec.is_bounded, spec.is_discrete, spec.is_continuous)]
        for name, item in specs.items()
    }


@case("tensor_spec/outer_dims")
def tensor_outer_dims(ns: Any) -> Any:
    spec = ns.tensor_spec
    nest = {
        "a": spec.TensorSpec((2,), tf.float32, "a"),
        "b": (spec.BoundedTensorSpec((2,), tf.int32, [0, 1], [2, 3], "b"),),
    }
    return {
        "added": spec.add_outer_dims_nest(nest, (4, 5)),
        "open": spec.add_outer_dims_nest(nest, (None,)),
        "one": spec.add_outer_dim(nest, 7),
        "one_open": spec.add_outer_dim(nest),
        "removed": spec.remove_outer_dims_nest(spec.TensorSpec((4, 5, 2), tf.float32, "a"), 2),
        "removed_too_many": outcome(lambda: spec.remove_outer_dims_nest(nest, 2)),
        "not_a_tuple": outcome(lambda: spec.add_outer_dims_nest(nest, 4)),
        "with_dtype": spec.with_dtype(nest, tf.float64),
    }


@case("tensor_spec/zero_spec_nest")
def tensor_zeros(ns: Any) -> Any:
    spec = ns.tensor_spec
    nest = {"a": spec.TensorSpec((2,), tf.float32), "b": [spec.BoundedTensorSpec((), tf.int32, 1, 3)]}
    return {
        "unbatched": spec.zero_spec_nest(nest),
        "batched": spec.zero_spec_nest(nest, [2]),
        "of_a_tensor": spec.zero_spec_nest(nest, tf.constant([2])),
        "of_a_number": outcome(lambda: spec.zero_spec_nest(3)),
    }


@cases(
    "tensor_spec/sample_spec_nest",
    {
        "float": (tf.float32, -2.0, 3.0),
        "int32": (tf.int32, -2, 2),
        "uint8": (tf.uint8, 0, 3),
        "int64": (tf.int64, 5, 7),
    },
)
def tensor_samples(ns: Any, dtype: Any, minimum: Any, maximum: Any) -> Any:
    spec = ns.tensor_spec.BoundedTensorSpec((3,), dtype, minimum, maximum)
    nest = {"x": spec, "y": (ns.tensor_spec.TensorSpec((), dtype),)}
    sample = ns.tensor_spec.sample_spec_nest(nest, outer_dims=(200,))
    x = sample["x"].numpy()
    whole = 0 if dtype.is_floating else int(maximum) - int(minimum) + 1
    return {
        "shapes": [list(x.shape), list(sample["y"][0].shape)],
        "dtypes": [x.dtype, sample["y"][0].dtype],
        "within": [bool(np.all(x >= minimum)), bool(np.all(x <= maximum))],
        "reaches_every_integer": not whole or len(np.unique(x)) == whole,
        "tensors": tf.is_tensor(sample["x"]),
        "unbatched": list(ns.tensor_spec.sample_bounded_spec(spec, seed=3).shape),
    }


@case("tensor_spec/proto")
def tensor_proto(ns: Any) -> Any:
    spec = ns.tensor_spec
    nest = {
        "a": spec.TensorSpec((2,), tf.float32, "a"),
        "b": (spec.BoundedTensorSpec((2,), tf.int32, 0, 3, "b"),),
        "c": [spec.TensorSpec((), tf.int64, "c")],
    }
    return spec.from_proto(spec.to_proto(nest))
