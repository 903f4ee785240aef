"""Specs of arrays and tensors. Tensor specs are loaded on first use, since they import TensorFlow."""

from importlib import import_module
from typing import Any

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.gymnasium_spaces import spec_from_space

_OF_TENSORS = (
    "BoundedTensorSpec",
    "TensorSpec",
    "from_spec",
    "is_bounded",
    "is_continuous",
    "is_discrete",
    "sample_spec_nest",
    "zero_spec_nest",
)

__all__ = ["ArraySpec", "BoundedArraySpec", "spec_from_space", *_OF_TENSORS]


def __getattr__(name: str) -> Any:
    if name == "tensor_spec":
        return import_module("distpolicy.specs.tensor_spec")
    if name not in _OF_TENSORS:
        raise AttributeError(f"module 'distpolicy.specs' has no attribute {name!r}")
    return getattr(import_module("distpolicy.specs.tensor_spec"), name)
