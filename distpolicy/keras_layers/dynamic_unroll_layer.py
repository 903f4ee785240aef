"""DynamicUnroll: runs a recurrent cell over a step or a sequence, with resets inside the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.keras_layers.arguments import takes_training


@keras.saving.register_keras_serializable("distpolicy")
class DynamicUnroll(keras.layers.Layer):
    """Unrolls a cell over time. Where ``reset_mask`` is True, the state is set to zeros before the step.

    A call on a sequence returns the same as calls on its single steps. Gradients flow through time, but not across a
    reset.

    Args:
        cell: A Keras cell such as ``LSTMCell``, ``GRUCell`` or ``StackedRNNCells``, or a list of cells to stack.
        parallel_iterations: See ``tf.while_loop``.
        swap_memory: See ``tf.while_loop``.
        **kwargs: Arguments of every Keras layer.
    """

    def __init__(
        self, cell: Any, parallel_iterations: int = 20, swap_memory: bool | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(cell, list | tuple):
            cell = keras.layers.StackedRNNCells(list(cell)) if len(cell) != 1 else cell[0]
        if not hasattr(cell, "state_size") or not callable(cell):
            raise ConfigError(f"DynamicUnroll takes a recurrent cell such as keras.layers.LSTMCell, not {cell!r}")
        self.cell = cell
        self.parallel_iterations = parallel_iterations
        self.swap_memory = swap_memory

    @property
    def state_size(self) -> Any:
        """Sizes of the state's vectors: a list, or for stacked cells a tuple with a list for each cell."""
        cells = getattr(self.cell, "cells", None)
        return _sizes(self.cell) if cells is None else tuple(_sizes(cell) for cell in cells)

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        """Returns zeros like :attr:`state_size`, ``[B, size]`` each.

        Args:
            inputs: Tensor ``[B, ...]``. Needed only if ``batch_size`` is None.
            batch_size: An int or a tensor; None for the inputs' first dimension.
            dtype: Dtype of the zeros; None for the layer's.
        """
        if batch_size is None:
            if inputs is None:
                raise ConfigError("get_initial_state needs inputs or a batch_size; pass one of them")
            batch_size = tf.shape(inputs)[0] if inputs.shape[0] is None else inputs.shape[0]
        dtype = self.compute_dtype if dtype is None else dtype
        return tf.nest.map_structure(lambda size: tf.zeros([batch_size, size], dtype), self.state_size)

    def build(self, input_shape: Any) -> None:
        """Builds the cell for ``[B, n]`` or ``[B, T, n]``."""
        if not self.cell.built:
            self.cell.build((input_shape[0], input_shape[-1]))

    def call(
        self, inputs: tf.Tensor, initial_state: Any = None, reset_mask: Any = None, training: bool = False
    ) -> tuple[tf.Tensor, Any]:
        """Returns the outputs and the next state.

        Args:
            inputs: float ``[B, n]``, or ``[B, T, n]``.
            initial_state: Nest like :attr:`state_size`, in lists or tuples; None or ``()`` for zeros.
            reset_mask: bool ``[B]`` or ``[B, T]``, True where the state is reset before the step; None for no resets.
            training: Whether the cell's dropout is active.

        Returns:
            float ``[B, units]`` or ``[B, T, units]``, and a nest like :attr:`state_size`.

        Raises:
            ValueError: If the shapes of inputs, mask and state do not match.
        """
        rank = inputs.shape.rank
        if rank not in (2, 3):
            raise SpecMismatchError(f"{self.name}: inputs must be [B, n] or [B, T, n], got {inputs.shape}")
        if reset_mask is not None:
            reset_mask = tf.cast(reset_mask, tf.bool)
            if not reset_mask.shape.is_compatible_with(inputs.shape[: rank - 1]):
                raise SpecMismatchError(
                    f"{self.name}: reset_mask must be {inputs.shape[: rank - 1]}, got {reset_mask.shape}"
                )
        state = self._flat_state(inputs, initial_state)
        with_dropout = _draw_dropout(self.cell, inputs, state) if training else []
        if rank == 2:
            outputs, state = self._step(inputs, state, reset_mask, training)
        elif inputs.shape[1] == 1:
            mask = None if reset_mask is None else reset_mask[:, 0]
            outputs, state = self._step(inputs[:, 0], state, mask, training)
            outputs = outputs[:, tf.newaxis]
        else:
            outputs, state = self._unroll(inputs, state, reset_mask, training)
        for cell in with_dropout:
            cell.reset_dropout_mask()
            cell.reset_recurrent_dropout_mask()
        return outputs, tf.nest.pack_sequence_as(self.state_size, state)

    def _flat_state(self, inputs: tf.Tensor, initial_state: Any) -> list[tf.Tensor]:
        if initial_state is None or not tf.nest.flatten(initial_state):
            return tf.nest.flatten(self.get_initial_state(inputs))
        state = tf.nest.flatten(initial_state)
        sizes = tf.nest.flatten(self.state_size)
        if [item.shape[-1] for item in state] != sizes:
            raise SpecMismatchError(
                f"{self.name}: the state's vectors must have sizes {sizes}, got {[item.shape for item in state]}"
            )
        return state

    def _step(
        self, inputs: tf.Tensor, state: list[tf.Tensor], reset: tf.Tensor | None, training: bool
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        if reset is not None:
            state = [tf.where(reset[:, tf.newaxis], tf.zeros_like(item), item) for item in state]
        options = {"training": training} if takes_training(self.cell) else {}
        outputs, after = self.cell(inputs, tf.nest.pack_sequence_as(self.state_size, state), **options)
        # A cell may compute in lower precision than its state has.
        kept = [tf.cast(new, old.dtype) for new, old in zip(tf.nest.flatten(after), state, strict=True)]
        return tf.cast(outputs, inputs.dtype), kept

    def _unroll(
        self, inputs: tf.Tensor, state: list[tf.Tensor], reset_mask: tf.Tensor | None, training: bool
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        num_steps = tf.shape(inputs)[1] if inputs.shape[1] is None else int(inputs.shape[1])
        by_time = tf.transpose(inputs, [1, 0, 2])
        resets = None if reset_mask is None else tf.transpose(reset_mask)
        outputs = tf.TensorArray(inputs.dtype, size=num_steps)

        def one(step: tf.Tensor, written: tf.TensorArray, state: list[tf.Tensor]) -> tuple[Any, ...]:
            reset = None if resets is None else resets[step]
            output, after = self._step(by_time[step], state, reset, training)
            return step + 1, written.write(step, output), after

        # XLA can compile the gradient only with a bound on iterations.
        _, outputs, state = tf.while_loop(
            lambda step, *_: step < num_steps,
            one,
            (tf.constant(0), outputs, state),
            parallel_iterations=self.parallel_iterations,
            swap_memory=bool(self.swap_memory),
            maximum_iterations=num_steps,
        )
        stacked = tf.transpose(outputs.stack(), [1, 0, 2])
        stacked.set_shape([*inputs.shape[:2], stacked.shape[-1]])
        return stacked, state

    def compute_output_shape(self, input_shape: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the shapes of the outputs and the state."""
        last = self.cell.cells[-1] if hasattr(self.cell, "cells") else self.cell
        size = getattr(last, "output_size", None) or _sizes(last)[0]
        state = tf.nest.map_structure(lambda width: (input_shape[0], width), self.state_size)
        return (*input_shape[:-1], size), state

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "parallel_iterations": self.parallel_iterations,
            "swap_memory": self.swap_memory,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DynamicUnroll:
        """Builds a layer from its configuration, with weights of its own."""
        cell = keras.saving.deserialize_keras_object(config["cell"])
        return cls(**{**config, "cell": cell})


def _sizes(cell: Any) -> list[int]:
    size = cell.state_size
    return [int(item) for item in size] if isinstance(size, Sequence) else [int(size)]


def _draw_dropout(cell: Any, inputs: tf.Tensor, state: list[tf.Tensor]) -> list[Any]:
    """Lets cells with dropout draw their masks before the loop, since they keep a mask for all steps.

    Returns:
        The cells with masks. They have to drop these masks after the loop.
    """
    cells = getattr(cell, "cells", [cell])
    found = []
    value = inputs if inputs.shape.rank == 2 else inputs[:, 0]
    place = 0
    for item in cells:
        if hasattr(item, "get_dropout_mask"):
            item.get_dropout_mask(value)
            item.get_recurrent_dropout_mask(state[place])
            found.append(item)
        # The next cell's inputs have the same shape as this cell's first state.
        value = state[place]
        place += len(_sizes(item))
    return found
