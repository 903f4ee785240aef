"""ReplayBuffer: the base of replay buffers with TF-Agents' interface."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError


class ReplayBuffer(tf.Module):
    """Keeps items, and gives samples of them.

    Args:
        data_spec: Nest of specs of one item.
        capacity: Number of items that fit in.
        stateful_dataset: Accepted for TF-Agents' callers.
    """

    def __init__(self, data_spec: Any, capacity: int, stateful_dataset: bool = False) -> None:
        super().__init__()
        # Hidden from tf.Module's tracking, which would wrap the user's lists and dicts.
        object.__setattr__(self, "_data_spec", data_spec)
        self._capacity = capacity
        self._stateful_dataset = stateful_dataset

    @property
    def data_spec(self) -> Any:
        """Nest of specs of one item."""
        return self._data_spec

    @property
    def capacity(self) -> Any:
        """The number of items that fit in."""
        return self._capacity

    @property
    def stateful_dataset(self) -> bool:
        """The constructor's argument."""
        return self._stateful_dataset

    def num_frames(self) -> Any:
        """Returns the number of items."""
        return self._num_frames()

    def add_batch(self, items: Any) -> Any:
        """Adds items.

        Args:
            items: Nest like ``data_spec``, each ``[B, ...]``.

        Returns:
            In a graph, the operation that adds them.
        """
        return self._add_batch(items)

    def get_next(
        self, sample_batch_size: int | None = None, num_steps: int | None = None, time_stacked: bool = True
    ) -> Any:
        """Draws a sample.

        Args:
            sample_batch_size: N, the number of draws; None for one without a batch dimension.
            num_steps: T, the number of consecutive items of a draw; None for one without a time dimension.
            time_stacked: Whether the items of a draw are stacked; otherwise they are a tuple of T nests.

        Returns:
            The items ``[N, T, ...]``, and information on them.
        """
        return self._get_next(sample_batch_size, num_steps, time_stacked)

    def as_dataset(
        self,
        sample_batch_size: int | None = None,
        num_steps: int | None = None,
        num_parallel_calls: int | None = None,
        sequence_preprocess_fn: Callable[[Any], Any] | None = None,
        single_deterministic_pass: bool = False,
    ) -> tf.data.Dataset:
        """Returns a dataset of samples, without end, or of all items once.

        TensorFlow may prepare samples ahead, which then lack the newest items.

        Args:
            sample_batch_size: See :meth:`get_next`.
            num_steps: See :meth:`get_next`.
            num_parallel_calls: How many samples are made at the same time; None for one.
            sequence_preprocess_fn: Not supported; None.
            single_deterministic_pass: Whether to return all items once, in a fixed order.

        Raises:
            NotImplementedError: If there is a ``sequence_preprocess_fn``.
            ValueError: If the specs hold lists, which a dataset takes for tensors.
        """
        if sequence_preprocess_fn is not None:
            raise NotImplementedError("sequence_preprocess_fn is not supported; map the dataset instead")
        if _holds_list(self._data_spec):
            raise ConfigError(
                f"data_spec holds lists, which a dataset takes for tensors; use tuples: {self._data_spec}"
            )
        if single_deterministic_pass:
            return self._single_deterministic_pass_dataset(sample_batch_size, num_steps, num_parallel_calls)
        return self._as_dataset(sample_batch_size, num_steps, num_parallel_calls)

    def gather_all(self) -> Any:
        """Returns all items ``[B, T, ...]``, the oldest first."""
        return self._gather_all()

    def clear(self) -> None:
        """Removes all items."""
        self._clear()

    @abc.abstractmethod
    def _num_frames(self) -> Any:
        """Implements :meth:`num_frames`."""

    @abc.abstractmethod
    def _add_batch(self, items: Any) -> Any:
        """Implements :meth:`add_batch`."""

    @abc.abstractmethod
    def _get_next(self, sample_batch_size: int | None, num_steps: int | None, time_stacked: bool) -> Any:
        """Implements :meth:`get_next`."""

    @abc.abstractmethod
    def _as_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        """Implements :meth:`as_dataset` without end."""

    @abc.abstractmethod
    def _single_deterministic_pass_dataset(
        self, sample_batch_size: int | None, num_steps: int | None, num_parallel_calls: int | None
    ) -> tf.data.Dataset:
        """Implements :meth:`as_dataset` with ``single_deterministic_pass``."""

    @abc.abstractmethod
    def _gather_all(self) -> Any:
        """Implements :meth:`gather_all`."""

    @abc.abstractmethod
    def _clear(self) -> Any:
        """Implements :meth:`clear`."""


def _holds_list(nest: Any) -> bool:
    if isinstance(nest, dict):
        return any(_holds_list(child) for child in nest.values())
    if isinstance(nest, tuple):
        return any(_holds_list(child) for child in nest)
    return isinstance(nest, list)
