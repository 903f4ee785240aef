"""LiteRTProgram: a function that LiteRT's interpreter runs, in a process without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from distpolicy.utils.compilation.array_expressions import ArrayExpression, BoundExpression


class LiteRTError(Exception):
    """Raised if a function cannot be converted to a LiteRT program. The message says why."""


# Where an output comes from, and its place there.
Source = tuple[Literal["input", "parameter", "prelude", "computed", "coda"], int]


class TakenArray(NamedTuple):
    """An array that NumPy takes in each call.

    Attributes:
        name: Its name in the expression.
        source: Where it comes from, and its place there.
        shape: Its shape.
        dtype: Its dtype.
    """

    name: str
    source: Source
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class NumpyPart:
    """What NumPy computes before or after the flatbuffer: arithmetic that LiteRT does not have, such as in float64.

    Attributes:
        expression: Takes the arrays and the parameters ``p<i>``.
        arrays: The arrays that it takes in each call.
        parameters: Places of the parameters that it takes.
    """

    expression: ArrayExpression
    arrays: tuple[TakenArray, ...]
    parameters: tuple[int, ...]

    @property
    def inputs(self) -> list[int]:
        """Places of the function's inputs that it takes."""
        return [array.source[1] for array in self.arrays if array.source[0] == "input"]


class EmbeddedParameter(NamedTuple):
    """A parameter whose values lie in the flatbuffer: LiteRT is fast at convolutions with constant weights only.

    Attributes:
        place: Its place among the parameters.
        start: Where its bytes begin in the flatbuffer.
        axes: The order in which its axes are stored.
    """

    place: int
    start: int
    axes: tuple[int, ...]


@dataclass(frozen=True)
class LiteRTProgram:
    """A function that was converted for fixed shapes. Variables are not part of it.

    Values that depend only on variables (a weight, a normaliser's scale) are its parameters, which persist between
    calls.

    Attributes:
        content: The program as a flatbuffer; None if LiteRT computes no output.
        prelude: What NumPy computes before, out of inputs; None for nothing.
        coda: What NumPy computes after; None for nothing.
        fed: For each result of the prelude that the flatbuffer reads, its place and its name.
        inputs: For each input that the flatbuffer reads, its place among the function's inputs and its name.
        parameters: For each parameter that the flatbuffer reads, its place among the parameters and its name.
        embedded: The parameters whose values lie in the flatbuffer, which has other values for them.
        num_computed: Number of the flatbuffer's outputs, named ``y0``, ``y1`` and so on.
        plan: Where each output of the function comes from.
    """

    content: bytes | None
    prelude: NumpyPart | None
    coda: NumpyPart | None
    fed: tuple[tuple[int, str], ...]
    inputs: tuple[tuple[int, str], ...]
    parameters: tuple[tuple[int, str], ...]
    embedded: tuple[EmbeddedParameter, ...]
    num_computed: int
    plan: tuple[Source, ...]

    @property
    def read_inputs(self) -> list[int]:
        """Places of the inputs that the flatbuffer reads, then of those that the prelude takes."""
        taken = [] if self.prelude is None else self.prelude.inputs
        return [*(place for place, _ in self.inputs), *taken]

    @property
    def needed_inputs(self) -> list[int]:
        """Places of the inputs that the outputs depend on. Other inputs may be None."""
        taken = [] if self.coda is None else self.coda.inputs
        return sorted({*self.read_inputs, *taken, *(place for kind, place in self.plan if kind == "input")})


# The name under which the converter keeps the names of inputs and outputs.
SIGNATURE = "serving_default"


def new_interpreter(content: bytes) -> Any:
    """Returns an interpreter of a flatbuffer, on one thread.

    Raises:
        LiteRTError: If LiteRT is not installed.
    """
    interpreter = interpreter_class()(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def interpreter_class() -> Any:
    """Returns LiteRT's class of interpreters.

    Raises:
        LiteRTError: If LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise LiteRTError(f"LiteRT cannot be imported ({error}); pip install ai-edge-litert") from error
    return Interpreter


def input_places(interpreter: Any) -> dict[str, int]:
    """Returns the interpreter's index of each input by name. The converter removes inputs that are not needed."""
    details = interpreter.get_input_details()
    return {item["name"].split(":")[0].removeprefix(f"{SIGNATURE}_"): item["index"] for item in details}


class LiteRTRunner:
    """Runs a program. Calls take and return NumPy arrays.

    Args:
        program: The program.
        parameters: The parameters' values.

    Raises:
        LiteRTError: If LiteRT is not installed.

    Attributes:
        is_direct: Whether the outputs are those of the flatbuffer, so that :meth:`run` may be called.
    """

    def __init__(self, program: LiteRTProgram, parameters: Sequence[np.ndarray]) -> None:
        self._plan = program.plan
        self.is_direct = self._plan == tuple(("computed", place) for place in range(len(self._plan)))
        self._read = program.read_inputs
        self._prelude = None if program.prelude is None else _NumpyRunner(program.prelude)
        self._coda = None if program.coda is None else _NumpyRunner(program.coda)
        self._program = program
        self._interpreter: Any = None
        self._parameter_places: list[tuple[int, int]] = []
        if program.content is not None and not program.embedded:
            self._load(program.content)
        self.set_parameters(parameters)

    def _load(self, content: bytes) -> None:
        program = self._program
        self._interpreter = new_interpreter(content)
        self._set = self._interpreter.set_tensor
        self._invoke, self._get = self._interpreter.invoke, self._interpreter.get_tensor
        places = input_places(self._interpreter)
        self._fed = [(place, places[name]) for place, name in program.fed]
        self._input_indices = [places[name] for _, name in program.inputs]
        self._parameter_places = [(place, places[name]) for place, name in program.parameters]
        outputs = self._interpreter.get_signature_runner(SIGNATURE).get_output_details()
        self._output_places = [outputs[f"y{place}"]["index"] for place in range(program.num_computed)]

    def set_parameters(self, values: Sequence[np.ndarray]) -> None:
        """Sets the parameters' values for the calls from now on."""
        self._parameter_values = values
        for part in (self._prelude, self._coda):
            if part is not None:
                part.set_parameters(values)
        if self._program.embedded:
            # LiteRT arranges constant weights for its kernels when it loads them. This takes a few milliseconds.
            self._load(_with_values(self._program, values))
        for place, index in self._parameter_places:
            self._set(index, values[place])

    def __call__(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Returns the outputs, in new memory unless an output is an input or depends only on variables.

        Args:
            inputs: Arrays; those that are not needed may be None.

        Raises:
            ValueError: If a needed input has another shape or dtype.
        """
        computed, prelude = self._computed([inputs[place] for place in self._read])
        sources = {"input": inputs, "parameter": self._parameter_values, "prelude": prelude, "computed": computed}
        if self._coda is not None:
            sources["coda"] = self._coda([sources[kind][place] for kind, place in self._coda.sources])
        return [sources[kind][place] for kind, place in self._plan]

    def run(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the flatbuffer's outputs, for calls at every step.

        Args:
            values: The arrays of the program's ``read_inputs``, in their order.

        Raises:
            ValueError: If one has another shape or dtype.
        """
        return self._computed(values)[0]

    def _computed(self, values: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the outputs of the flatbuffer and of the prelude."""
        prelude: list[np.ndarray] = []
        if self._prelude is not None:
            num_direct = len(values) - len(self._prelude.sources)
            prelude = self._prelude(values[num_direct:])
            values = values[:num_direct]
        if self._interpreter is None:
            return [], prelude
        set_tensor, get_tensor = self._set, self._get
        for place, index in self._fed:
            set_tensor(index, prelude[place])
        for index, value in zip(self._input_indices, values, strict=True):
            set_tensor(index, value)
        self._invoke()
        return [get_tensor(index) for index in self._output_places], prelude


class _NumpyRunner:
    """Runs what NumPy computes."""

    def __init__(self, part: NumpyPart) -> None:
        self._part = part
        self._kinds = [(array.shape, array.dtype) for array in part.arrays]
        self.sources = [array.source for array in part.arrays]

    def set_parameters(self, values: Sequence[np.ndarray]) -> None:
        """Sets the values of the function's parameters."""
        given = {f"p{place}": values[place] for place in self._part.parameters}
        self._run = BoundExpression(self._part.expression, given, [array.name for array in self._part.arrays])

    def __call__(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the results.

        Raises:
            ValueError: If an array has another shape or dtype.
        """
        for value, (shape, dtype) in zip(values, self._kinds, strict=True):
            if value.shape != shape or value.dtype != dtype:
                raise ValueError(f"expected {dtype}{list(shape)}, got {value.dtype}{list(value.shape)}")
        return self._run(values)


def _with_values(program: LiteRTProgram, values: Sequence[np.ndarray]) -> bytes:
    """Returns a flatbuffer with the values of the parameters that lie in it."""
    assert program.content is not None
    content = bytearray(program.content)
    for place, start, axes in program.embedded:
        stored = np.ascontiguousarray(values[place].transpose(axes)).tobytes()
        content[start : start + len(stored)] = stored
    return bytes(content)
