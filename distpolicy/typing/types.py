"""Names of types for annotations, as TF-Agents has them. Nests are ``Any``: no type says what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ForwardRef, TypeAlias

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.networks.network import Network
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.specs.tensor_spec import BoundedTensorSpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory, Transition

__all__ = [
    "Array",
    "ArraySpec",
    "Bool",
    "BoundedTensorSpec",
    "ComparatorFn",
    "Distribution",
    "Float",
    "FloatOrReturningFloat",
    "ForwardRef",
    "GymEnv",
    "GymEnvWrapper",
    "Int",
    "LossFn",
    "NestedArray",
    "NestedArraySpec",
    "NestedBoundedTensorSpec",
    "NestedDistribution",
    "NestedLayer",
    "NestedNetwork",
    "NestedSpec",
    "NestedSpecTensorOrArray",
    "NestedTensor",
    "NestedTensorOrArray",
    "NestedTensorSpec",
    "NestedVariable",
    "Network",
    "Observer",
    "Optimizer",
    "PolicyStep",
    "PyEnv",
    "PyEnvWrapper",
    "Seed",
    "Shape",
    "ShapeSequence",
    "Spec",
    "SpecTensorOrArray",
    "Splitter",
    "Tensor",
    "TensorOrArray",
    "TensorSpec",
    "TimeStep",
    "Trajectory",
    "Transition",
]

Tensor: TypeAlias = tf.Tensor | tf.SparseTensor | tf.RaggedTensor
Array: TypeAlias = np.ndarray | int | float | str | bool
TensorOrArray: TypeAlias = Tensor | Array
Distribution: TypeAlias = tfp.distributions.Distribution
TensorSpec: TypeAlias = tf.TypeSpec
Spec: TypeAlias = TensorSpec | ArraySpec
SpecTensorOrArray: TypeAlias = Spec | Tensor | Array

NestedTensor: TypeAlias = Any
NestedVariable: TypeAlias = Any
NestedArray: TypeAlias = Any
NestedDistribution: TypeAlias = Any
NestedTensorSpec: TypeAlias = Any
NestedBoundedTensorSpec: TypeAlias = Any
NestedArraySpec: TypeAlias = Any
NestedLayer: TypeAlias = Any
NestedNetwork: TypeAlias = Any
NestedSpec: TypeAlias = Any
NestedTensorOrArray: TypeAlias = Any
NestedSpecTensorOrArray: TypeAlias = Any

Int: TypeAlias = int | np.integer | Tensor | Array
Bool: TypeAlias = bool | np.bool_ | Tensor | Array
Float: TypeAlias = float | np.floating | Tensor | Array
FloatOrReturningFloat: TypeAlias = Float | Callable[[], Float]
Shape: TypeAlias = TensorOrArray | Sequence[int | None] | tf.TensorShape
ShapeSequence: TypeAlias = Sequence[int | None]
Seed: TypeAlias = int | Sequence[int] | Tensor | Array

Splitter: TypeAlias = Callable[[NestedSpecTensorOrArray], Iterable[NestedSpecTensorOrArray]] | None
GymEnv: TypeAlias = gym.Env
GymEnvWrapper: TypeAlias = Callable[[GymEnv], GymEnv]
PyEnv: TypeAlias = PyEnvironment
PyEnvWrapper: TypeAlias = Callable[[PyEnv], PyEnv]
Observer: TypeAlias = Callable[[Trajectory], None]
ComparatorFn: TypeAlias = Callable[[Float, Float], Bool]
LossFn: TypeAlias = Callable[..., Tensor]
Optimizer: TypeAlias = keras.optimizers.Optimizer
