"""compare: checks that an exported program acts as the policy does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.export.formats import Run
from distpolicy.export.signature import ExportedTensor, Signature
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths
from distpolicy.utils.sampling.tensor_draws import noise_from

_NUM_STEPS = 4
# Observations without narrow bounds are drawn like normalised ones.
_WIDE = 100.0
_SHARE_TRUE = 0.7
_LARGEST = 1000
_RTOL, _ATOL = 1e-3, 1e-4
# Where two actions are almost equally good, rounding may pick the other one.
_MAX_SHARE_OTHER = 0.01


class Difference(NamedTuple):
    """How far a program is from its policy.

    Attributes:
        largest: The largest difference of a float output.
        share_other: The share of integer outputs that differ.
        num_rows: Number of rows that were compared.
    """

    largest: float
    share_other: float
    num_rows: int


def compare(policy: TFPolicy, signature: Signature, run: Run, num_rows: int, seed: int = 0) -> Difference:
    """Compares a program with its policy on random observations, over some steps with their states.

    Args:
        policy: The policy.
        signature: The program's inputs and outputs.
        run: Runs the program.
        num_rows: Number of rows to compare in each step.
        seed: Seed of the observations.

    Raises:
        ConfigError: If they differ by more than rounding.
    """
    random = np.random.default_rng(seed)
    batch_size = signature.inputs[0].shape[0] if signature.inputs else None
    size = batch_size or num_rows
    num_rows = -(-num_rows // size) * size
    largest, others, num_integers = 0.0, 0, 0
    state = tf.nest.map_structure(np.asarray, policy.get_initial_state(num_rows))
    first = np.ones(num_rows, np.bool_)
    for _ in range(_NUM_STEPS):
        time_step = _random_step(policy, num_rows, first, random)
        noise = [
            random.uniform(1e-6, 1 - 1e-6, (num_rows, _width(leaf))).astype(np.float32) for leaf in _noise(signature)
        ]
        expected = _act(policy, time_step, state, noise)
        got = _in_batches(run, _inputs(signature, time_step, state, noise), size, num_rows)
        for leaf, want in zip(signature.outputs, tf.nest.flatten(expected), strict=True):
            wrong = _wrong(np.asarray(want), np.asarray(got[leaf.name]), leaf)
            largest = max(largest, wrong.largest)
            others, num_integers = others + wrong.num_other, num_integers + wrong.num_integers
        state = tf.nest.map_structure(np.asarray, expected.state)
        first = random.random(num_rows) < 0.2
    share = others / num_integers if num_integers else 0.0
    if share > _MAX_SHARE_OTHER:
        raise ConfigError(f"the exported program differs from the policy: {share:.1%} of its choices are others")
    return Difference(largest, share, num_rows * _NUM_STEPS)


def _in_batches(run: Run, inputs: Mapping[str, np.ndarray], size: int, num_rows: int) -> Mapping[str, np.ndarray]:
    """Returns the outputs for all rows, which a program of a fixed size computes in parts."""
    parts = []
    for start in range(0, num_rows, size):
        outputs = run({name: value[start : start + size] for name, value in inputs.items()})
        # LiteRT may reuse the memory of its outputs.
        parts.append({name: np.array(value) for name, value in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Wrong(NamedTuple):
    largest: float
    num_other: int
    num_integers: int


def _wrong(want: np.ndarray, got: np.ndarray, leaf: ExportedTensor) -> _Wrong:
    if got.shape != want.shape or got.dtype.name != leaf.dtype:
        raise ConfigError(
            f"the exported program returns {leaf.name} as {got.dtype}{list(got.shape)}, the policy as "
            f"{want.dtype}{list(want.shape)}"
        )
    if want.dtype.kind != "f":
        return _Wrong(0.0, int(np.sum(want != got)), want.size)
    differing = np.abs(want.astype(np.float64) - got)
    # NaN in both is the same.
    differing[np.isnan(want) & np.isnan(got)] = 0.0
    largest = float(np.max(differing, initial=0.0))
    rows = np.isclose(want, got, rtol=_RTOL, atol=_ATOL, equal_nan=True).reshape(len(want), -1).all(axis=1)
    if np.mean(~rows) > _MAX_SHARE_OTHER:
        raise ConfigError(f"the exported program differs from the policy: {leaf.name} by up to {largest:.3g}")
    return _Wrong(largest, 0, 0)


def _act(policy: TFPolicy, time_step: TimeStep, state: Any, noise: list[np.ndarray]) -> Any:
    numbers = iter(noise)
    seed = np.zeros((len(time_step.step_type), 2), np.int32)
    with noise_from(lambda seed, num: tf.constant(next(numbers))):
        step, given = tf.nest.map_structure(tf.constant, (time_step, state))
        return policy.action(step, given, tf.constant(seed))


def _random_step(policy: TFPolicy, size: int, first: np.ndarray, random: np.random.Generator) -> TimeStep:
    spec = tensor_spec.to_nest_array_spec(policy.time_step_spec)
    return TimeStep(
        np.where(first, 0, 1).astype(np.int32),
        map_structure(lambda leaf: random.normal(size=(size, *leaf.shape)).astype(leaf.dtype), spec.reward),
        np.ones(size, np.float32),
        map_structure(lambda leaf: _random(leaf, size, random), spec.observation),
    )


def _random(spec: Any, size: int, random: np.random.Generator) -> np.ndarray:
    shape = (size, *spec.shape)
    if spec.dtype.kind == "b":
        return random.random(shape) < _SHARE_TRUE
    if spec.dtype.kind == "f":
        drawn = random.normal(size=shape)
        if isinstance(spec, BoundedArraySpec):
            low, high = (np.broadcast_to(bound, shape[1:]).astype(np.float64) for bound in (spec.minimum, spec.maximum))
            # The halves of the dtype's largest bounds have a difference.
            narrow = high / 2 - low / 2 < _WIDE / 2
            spread = np.where(narrow, high, 1.0) - np.where(narrow, low, 0.0)
            drawn = np.where(narrow, low + random.random(shape) * spread, np.clip(drawn, low, high))
        return drawn.astype(spec.dtype)
    low, high = np.zeros(spec.shape), np.full(spec.shape, _LARGEST)
    if isinstance(spec, BoundedArraySpec):
        # Wider than the dtype, which may not hold the limits.
        low = np.maximum(spec.minimum.astype(np.float64), -_LARGEST)
        high = np.minimum(spec.maximum.astype(np.float64), _LARGEST)
    info = np.iinfo(spec.dtype)
    lowest, highest = np.maximum(low, info.min).astype(np.int64), np.minimum(high, info.max).astype(np.int64)
    return random.integers(lowest, highest + 1, shape).astype(spec.dtype)


def _noise(signature: Signature) -> list[ExportedTensor]:
    return [leaf for leaf in signature.inputs if leaf.role == "noise"]


def _width(leaf: ExportedTensor) -> int:
    width = leaf.shape[1]
    assert width is not None  # Only batches may be of any size.
    return width


def _inputs(signature: Signature, time_step: TimeStep, state: Any, noise: list[np.ndarray]) -> Mapping[str, np.ndarray]:
    """Returns the program's inputs by name."""
    nests = {**time_step._asdict(), "state": state}
    leaves = {
        (role, path): leaf
        for role, nest in nests.items()
        for path, leaf in zip(paths(nest), flatten(nest), strict=True)
    }
    numbers = iter(noise)
    return {
        leaf.name: (next(numbers) if leaf.role == "noise" else np.asarray(leaves[leaf.role, leaf.path])).astype(
            leaf.dtype
        )
        for leaf in signature.inputs
    }
