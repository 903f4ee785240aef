"""print_summary: a table of a network's layers and the number of their weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError

_COLUMNS = ("Layer (type)", "Weights", "Param #")
_TRAINABLE = "Trainable"


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Prints each layer's name, type, the shapes of its weights and their number, and the total numbers.

    Args:
        model: A Network or a Keras model.
        line_length: Characters of a line; 65 if None.
        positions: Where the columns end: characters, or shares of the line if the last one is at most 1.
        print_fn: Function that is called with each line; ``print`` if None.
        expand_nested: Whether the layers of a layer that has some follow it.
        show_trainable: Whether a column says if a layer is trained.
        layer_range: Names of the first and the last layer to print, or regular expressions that match their names.
            None for all.

    Raises:
        ValueError: If ``layer_range`` is not a pair, or matches no layers.
    """
    show = print if print_fn is None else print_fn
    length = line_length or 65
    ends = [float(end) for end in (positions or (0.45, 0.85, 1.0))]
    if ends[-1] <= 1:
        ends = [int(length * end) for end in ends]
    columns = list(_COLUMNS)
    if show_trainable:
        columns.append(_TRAINABLE)
        length += len(_TRAINABLE) + 2
        ends.append(length)
    weights = _once(model.weights)
    show(f'Network: "{model.name}"')
    show("_" * length)
    show(_row(columns, ends))
    show("=" * length)
    for layer, depth in _rows(_selected(model.layers, layer_range), expand_nested):
        show(_row([f"{'  ' * depth}{_name(layer)} ({type(layer).__name__})", *_fields(layer, show_trainable)], ends))
    show("=" * length)
    trained = _once(model.trainable_weights)
    show(f"Total params: {_size(weights)}")
    show(f"Trainable params: {_size(trained)}")
    show(f"Non-trainable params: {_size(weights) - _size(trained)}")
    show("_" * length)


def _rows(layers: Iterable[Any], expand: bool, depth: int = 0) -> Iterable[tuple[Any, int]]:
    for layer in layers:
        yield layer, depth
        if expand:
            yield from _rows(getattr(layer, "layers", ()), expand, depth + 1)


def _fields(layer: Any, show_trainable: bool) -> list[str]:
    weights = _once(getattr(layer, "weights", ()))
    shapes = " ".join("x".join(map(str, tuple(weight.shape))) or "scalar" for weight in weights)
    return [shapes, str(_size(weights)), *(["Y" if layer.trainable else "N"] if show_trainable else [])]


def _row(fields: Sequence[str], ends: Sequence[float]) -> str:
    line = ""
    for field, end in zip(fields, ends, strict=True):
        # A field that is too long pushes the next one to the right: a name in full helps more than a straight column.
        line = (line + field).ljust(int(end) - 1) + " "
    return line.rstrip()


def _selected(layers: Sequence[Any], layer_range: Sequence[str] | None) -> Sequence[Any]:
    if layer_range is None:
        return layers
    if len(layer_range) != 2:
        raise ConfigError(f"layer_range must be the names of two layers, not {layer_range!r}")
    first, last = (
        [index for index, layer in enumerate(layers) if re.fullmatch(pattern, _name(layer))] for pattern in layer_range
    )
    if not first or not last or first[0] > last[-1]:
        raise ConfigError(f"layer_range {tuple(layer_range)} does not match layers; they are {[*map(_name, layers)]}")
    return layers[first[0] : last[-1] + 1]


def _name(layer: Any) -> str:
    return str(getattr(layer, "name", None) or getattr(layer, "__name__", "function"))


def _once(variables: Iterable[tf.Variable]) -> list[tf.Variable]:
    return list({id(variable): variable for variable in variables}.values())


def _size(variables: Iterable[tf.Variable]) -> int:
    return sum(int(tf.TensorShape(variable.shape).num_elements() or 0) for variable in variables)
