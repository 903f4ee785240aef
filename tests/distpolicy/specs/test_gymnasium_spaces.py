from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from distpolicy.errors import SpecMismatchError
from distpolicy.specs import ArraySpec, BoundedArraySpec, spec_from_space
from distpolicy.utils.nests.array_nest import flatten

BOX = gym.spaces.Box(np.array([-1.0, -np.inf], np.float32), np.array([2.0, np.inf], np.float32))


def test_box_keeps_bounds_shape_and_dtype() -> None:
    largest = np.finfo(np.float32).max
    assert spec_from_space(BOX) == BoundedArraySpec((2,), np.float32, [-1.0, -largest], [2.0, largest])
    image = spec_from_space(gym.spaces.Box(0, 255, (4, 4, 3), np.uint8))
    assert image == BoundedArraySpec((4, 4, 3), np.uint8, 0, 255)
    assert spec_from_space(gym.spaces.Box(0, 1, (2,), np.bool_)) == ArraySpec((2,), np.bool_)


def test_discrete_keeps_its_start() -> None:
    spec = spec_from_space(gym.spaces.Discrete(3, start=-1))
    assert spec == BoundedArraySpec((), np.int64, -1, 1)
    assert spec.num_values == 3


def test_multi_discrete_has_bounds_for_each_element() -> None:
    space = gym.spaces.MultiDiscrete([2, 5], start=[1, -2])
    assert spec_from_space(space) == BoundedArraySpec((2,), np.int64, [1, -2], [2, 2])
    np.testing.assert_array_equal(spec_from_space(space).num_values, [2, 5])


def test_multi_binary_is_zeros_and_ones() -> None:
    assert spec_from_space(gym.spaces.MultiBinary((2, 3))) == BoundedArraySpec((2, 3), np.int8, 0, 1)


def test_nests_are_kept_and_leaves_are_named_by_their_path() -> None:
    space = gym.spaces.Dict(
        {"pose": gym.spaces.Tuple([BOX, gym.spaces.Discrete(2)]), "flag": gym.spaces.MultiBinary(1)}
    )
    spec = spec_from_space(space, "observation")
    assert isinstance(spec["pose"], tuple)
    assert spec["pose"][1] == BoundedArraySpec((), np.int64, 0, 1)
    assert [leaf.name for leaf in flatten(spec)] == ["observation/flag", "observation/pose/0", "observation/pose/1"]


@pytest.mark.parametrize(
    "space",
    [
        BOX,
        gym.spaces.Discrete(3, start=5),
        gym.spaces.MultiDiscrete([[2, 3], [4, 5]]),
        gym.spaces.MultiBinary(4),
        gym.spaces.Box(-1.0, 1.0, (), np.float64),
        gym.spaces.Box(0, 1, (3,), np.bool_),
        gym.spaces.Box(0, 2**64 - 1, (2,), np.uint64),
        gym.spaces.Box(-5, 5, (2,), np.int16),
        gym.spaces.Discrete(3, dtype=np.int32),
        gym.spaces.MultiDiscrete([2, 3], dtype=np.int8, start=[-1, 4]),
        gym.spaces.MultiBinary([2, 3]),
    ],
    ids=repr,
)
def test_samples_of_the_space_fit_the_spec(space: gym.Space) -> None:
    spec = spec_from_space(space)
    space.seed(3)
    for _ in range(20):
        assert spec.check_array(np.asarray(space.sample(), spec.dtype))


def test_other_spaces_are_refused_by_name() -> None:
    with pytest.raises(SpecMismatchError, match=r"observation/name space Text.*not supported"):
        spec_from_space(gym.spaces.Dict({"name": gym.spaces.Text(5)}), "observation")


def test_a_dict_with_keys_of_both_kinds_is_told() -> None:
    box = gym.spaces.Box(0, 1, (2,))
    for keys in ((1, 2), ("1", "2")):
        assert list(spec_from_space(gym.spaces.Dict(dict.fromkeys(keys, box)))) == list(keys)
    space = gym.spaces.Dict({"inner": gym.spaces.Dict({1: box, "a": box})})
    with pytest.raises(
        SpecMismatchError, match=r"^observation/inner space Dict has the keys 1, 'a', which have no order"
    ):
        spec_from_space(space, "observation")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_a_specs_dtype_is_the_object_that_arrays_have(dtype: type) -> None:
    """Collectors compare dtypes by identity: a dtype of its own would cost each step a seventh of its time."""
    space = gym.spaces.Box(0, 1, (3,), dtype)
    assert spec_from_space(space).dtype is np.zeros(3, dtype).dtype
    assert spec_from_space(gym.spaces.Box(0, 1, (3,), np.dtype(dtype).newbyteorder())).dtype is np.zeros(3, dtype).dtype
