"""Specs of arrays and tensors. ``tensor_spec`` is a module of its own, since it imports TensorFlow."""

from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.gymnasium_spaces import spec_from_space

__all__ = ["ArraySpec", "BoundedArraySpec", "spec_from_space"]
