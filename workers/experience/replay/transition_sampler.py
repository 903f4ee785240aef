"""TransitionSampler: makes batches of n-step transitions from rows of a ring."""

from __future__ import annotations

from typing import Any

import numpy as np

from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.nests.array_nest import map_structure
from workers.experience.replay.ring import Ring
from workers.experience.replay.structure import RolloutStructure

# Tensors may share the memory of arrays that are aligned so.
_ALIGNMENT_BYTES = 64


class TransitionSampler:
    """Takes transitions out of a ring. The arrays of a batch are written over by the next one.

    Args:
        shape: ``(K, B)``.
        n_step: The steps of a transition.
        gamma: The discount factor.
    """

    def __init__(self, shape: tuple[int, int], n_step: int, gamma: float) -> None:
        self._shape, self._n_step, self._gamma = shape, n_step, np.float32(gamma)
        self._outputs: dict[str, np.ndarray] = {}

    def sample(self, ring: Ring, rows: np.ndarray, structure: RolloutStructure) -> Transition:
        """Returns the transitions that start at rows.

        It covers n steps, or fewer: it ends with its episode, before a cut, and at the newest step. See
        :func:`distpolicy.trajectories.transitions.to_n_step_transition`.

        Args:
            ring: The ring.
            rows: int64 ``[K * B]``.
            structure: The structure of the rollouts.
        """

        def taken(name: str, at: np.ndarray, array: np.ndarray) -> np.ndarray:
            return np.take(array, at, axis=0, out=self._output(name, array), mode="clip")

        if self._n_step == 1:
            last = ring.after(rows, 1)
            reward = taken("reward", rows, ring.leaves["reward"])
            discount = taken("discount", rows, ring.leaves["discount"])
        else:
            steps = ring.after(rows[:, None], np.arange(self._n_step))
            goes_on = np.cumprod(ring.is_start[steps], axis=1, dtype=np.bool_)
            reward, discount = n_step_return(
                ring.leaves["reward"][steps], ring.leaves["discount"][steps], goes_on, self._gamma
            )
            last = ring.after(rows, goes_on.sum(axis=1))

        def of_ring(prefix: str, path: str, at: np.ndarray) -> np.ndarray:
            return self._shaped(taken(f"{prefix}{path}", at, ring.leaves[path]))

        def step_type(at: np.ndarray) -> np.ndarray:
            return self._shaped(ring.step_type[at].astype(np.int32))

        zeros = np.zeros(self._shape, np.float32)
        return Transition(
            TimeStep(step_type(rows), zeros, zeros, structure.pack("observation", lambda p: of_ring("", p, rows))),
            PolicyStep(
                structure.pack("action", lambda p: of_ring("", p, rows)),
                (),
                structure.pack("policy_info", lambda p: of_ring("", p, rows)),
            ),
            TimeStep(
                step_type(last),
                self._shaped(reward),
                self._shaped(discount),
                structure.pack("observation", lambda p: of_ring("next/", p, last)),
            ),
        )

    def zeros(self, rollout: Rollout) -> Transition:
        """Returns a batch of zeros for rollouts ``[B, T, ...]`` like this one."""

        def zero(leaf: np.ndarray) -> np.ndarray:
            return np.zeros((*self._shape, *leaf.shape[2:]), leaf.dtype)

        number, step_type = np.zeros(self._shape, np.float32), np.zeros(self._shape, np.int32)
        observation = map_structure(zero, rollout.observation)
        return Transition(
            TimeStep(step_type, number, number, observation),
            PolicyStep(map_structure(zero, rollout.action), (), map_structure(zero, rollout.policy_info)),
            TimeStep(step_type, number, number, observation),
        )

    def _shaped(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(*self._shape, *array.shape[1:])

    def _output(self, name: str, like: np.ndarray) -> np.ndarray:
        """Returns the array ``[K * B, ...]`` that takes a leaf."""
        if name not in self._outputs:
            self._outputs[name] = aligned_zeros((self._shape[0] * self._shape[1], *like.shape[1:]), like.dtype)
        return self._outputs[name]


def n_step_return(
    reward: np.ndarray, discount: np.ndarray, goes_on: np.ndarray, gamma: np.floating
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ``r_0 + g d_0 r_1 + …`` and ``gⁿ⁻¹ d_0 … d_{n-1}`` over the first n steps, each ``[B]``.

    Args:
        reward: float32 ``[B, N]``.
        discount: float32 ``[B, N]``.
        goes_on: bool ``[B, N]``: True for the first n steps, n >= 1.
        gamma: g.
    """
    discount = np.where(goes_on, discount, np.float32(1))
    share = np.ones_like(discount)
    np.cumprod(gamma * discount[:, :-1], axis=1, out=share[:, 1:])
    total = np.where(goes_on, share * reward, np.float32(0)).sum(axis=1)
    num_steps = goes_on.sum(axis=1, dtype=np.float32)
    return total, discount.prod(axis=1) * gamma ** (num_steps - 1)


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Returns an array of zeros that begins at a multiple of 64 bytes."""
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(num_bytes + _ALIGNMENT_BYTES, np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT_BYTES
    return memory[offset : offset + num_bytes].view(dtype).reshape(shape)
