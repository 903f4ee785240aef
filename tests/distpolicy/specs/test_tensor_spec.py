from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import distpolicy.specs
from distpolicy.errors import SpecMismatchError
from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec

NEST = {
    "plain": ArraySpec((2, None), np.float32, "plain"),
    "bounded": (BoundedArraySpec((3,), np.int32, [0, 1, 2], 5, "bounded"),),
    "unbounded": BoundedArraySpec((2,), np.float32, -np.inf, np.inf, "unbounded"),
    "image": BoundedArraySpec((4, 4), np.uint8, name="image"),
}


def test_array_specs_become_tensor_specs_and_return_the_same() -> None:
    tensors = tensor_spec.from_spec(NEST)
    assert tensors["plain"] == TensorSpec((2, None), tf.float32, "plain")
    assert isinstance(tensors["bounded"][0], BoundedTensorSpec)
    np.testing.assert_array_equal(tensors["bounded"][0].minimum, [0, 1, 2])
    arrays = tensor_spec.to_nest_array_spec(tensors)
    assert arrays == NEST
    assert arrays["bounded"][0].name == "bounded"
    assert tensor_spec.to_nest_array_spec(NEST) == NEST


def test_tensor_specs_stay_as_they_are() -> None:
    spec = BoundedTensorSpec((2,), tf.float32, 0, 1)
    assert tensor_spec.from_spec(spec) is spec
    assert tensor_spec.from_spec(()) == ()


@pytest.mark.parametrize("wrong", [3, "spec", np.zeros(2)], ids=["int", "str", "array"])
def test_anything_else_is_refused(wrong: object) -> None:
    with pytest.raises(SpecMismatchError, match=type(wrong).__name__):
        tensor_spec.from_spec({"leaf": wrong})


def test_kinds_of_specs_are_told_apart() -> None:
    assert tensor_spec.is_bounded(BoundedTensorSpec((), tf.int32, 0, 1))
    assert tensor_spec.is_bounded(BoundedArraySpec((), np.int32))
    assert not tensor_spec.is_bounded(TensorSpec((), tf.int32))
    assert tensor_spec.is_discrete(TensorSpec((), tf.uint8))
    assert not tensor_spec.is_discrete(TensorSpec((), tf.float32))
    assert tensor_spec.is_continuous(ArraySpec((), np.float64))
    assert not tensor_spec.is_continuous(TensorSpec((), tf.int64))


def test_outer_dimensions_are_put_before_each_shape() -> None:
    outer = tensor_spec.add_outer_dims_nest(tensor_spec.from_spec(NEST), (None, 7))
    assert outer["plain"].shape.as_list() == [None, 7, 2, None]
    assert outer["bounded"][0].shape.as_list() == [None, 7, 3]
    np.testing.assert_array_equal(outer["bounded"][0].minimum, [0, 1, 2])


@pytest.mark.parametrize("outer", [None, [5], [2, 3], tf.constant([4])], ids=["none", "one", "two", "tensor"])
def test_zeros_have_the_shape_and_dtype_of_the_spec(outer: object) -> None:
    nest = tensor_spec.from_spec({"a": NEST["bounded"], "b": ArraySpec((), np.float64)})
    zeros = tensor_spec.zero_spec_nest(nest, outer)
    before = () if outer is None else tuple(np.asarray(outer))
    assert zeros["a"][0].shape == (*before, 3)
    assert zeros["a"][0].dtype == tf.int32
    assert zeros["b"].shape == before
    assert zeros["b"].dtype == tf.float64
    assert not zeros["a"][0].numpy().any()


def test_outer_dimensions_are_added_one_by_one_and_removed() -> None:
    nest = tensor_spec.from_spec({"a": NEST["bounded"][0], "b": ArraySpec((), np.float32, "b")})
    batched = tensor_spec.add_outer_dim(nest, 5)
    assert batched["a"].shape.as_list() == [5, 3]
    assert batched["b"] == TensorSpec((5,), tf.float32, "b")
    assert tensor_spec.add_outer_dim(nest)["b"].shape.as_list() == [None]
    twice = tensor_spec.add_outer_dims_nest(nest, [7, 5])
    assert tensor_spec.remove_outer_dims_nest(twice, 1) == batched
    assert tensor_spec.remove_outer_dims_nest(twice, 2) == nest
    with pytest.raises(ValueError, match=r"'b'.*fewer than 3"):
        tensor_spec.remove_outer_dims_nest(twice, 3)
    for wrong in (3, tf.constant([3])):
        with pytest.raises(ValueError, match="must be a list or tuple"):
            tensor_spec.add_outer_dims_nest(nest, wrong)


def test_bounds_of_removed_dimensions_go_with_them() -> None:
    spec = BoundedTensorSpec((3, 2), tf.float32, np.zeros((3, 2)), [1, 2])
    left = tensor_spec.remove_outer_dims_nest(spec, 1)
    np.testing.assert_array_equal(left.minimum, [0, 0])
    np.testing.assert_array_equal(left.maximum, [1, 2])


def test_dtype_is_changed_with_the_bounds() -> None:
    changed = tensor_spec.with_dtype(NEST, tf.float64)
    assert {spec.dtype for spec in tf.nest.flatten(changed)} == {tf.float64}
    assert changed["bounded"][0].minimum.dtype == np.float64
    np.testing.assert_array_equal(changed["bounded"][0].minimum, [0, 1, 2])
    assert changed["plain"].name == "plain"


def test_array_specs_of_what_has_none_are_refused() -> None:
    for wrong in (3, tf.SparseTensorSpec((2,), tf.float32)):
        with pytest.raises(SpecMismatchError, match="to an array spec"):
            tensor_spec.to_array_spec([wrong])
    with pytest.raises(SpecMismatchError, match="'flat' has unknown rank"):
        tensor_spec.to_array_spec(TensorSpec(None, tf.float32, "flat"))
    assert tensor_spec.to_array_spec(TensorSpec((None,), tf.string)).dtype == object


def test_zeros_of_other_specs_are_refused() -> None:
    for wrong in (3, tf.SparseTensorSpec((2,), tf.float32), ArraySpec((2,), np.float32)):
        with pytest.raises(NotImplementedError, match="takes tensor specs"):
            tensor_spec.zero_spec_nest([wrong])
    with pytest.raises(ValueError, match=r"'open'.*open dimension"):
        tensor_spec.zero_spec_nest(TensorSpec((None,), tf.float32, "open"))
    assert tensor_spec.zero_spec_nest((), [2]) == ()


def test_package_holds_the_names_that_tf_agents_holds() -> None:
    names = (
        "BoundedTensorSpec TensorSpec from_spec is_bounded is_continuous is_discrete sample_spec_nest zero_spec_nest"
    )
    for name in names.split():
        assert getattr(distpolicy.specs, name) is getattr(tensor_spec, name)
        assert name in distpolicy.specs.__all__
    assert distpolicy.specs.tensor_spec is tensor_spec
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = distpolicy.specs.nothing
