"""The formats of exports: how a frozen action becomes bytes, and how these bytes are run to check them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.export.frozen_action import FrozenAction
from distpolicy.export.graph_rewrites import without_broadcast_args
from distpolicy.utils.compilation.litert_program import SIGNATURE, new_interpreter
from distpolicy.utils.error_text import one_line
from distpolicy.utils.quiet import without_stderr

# Runs a program: from the inputs by name to the outputs by name.
Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]

_OPSET = 17


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: Its name.
        main_file: The file to open; the folder itself if empty.
        single_precision: Whether float64 becomes float32.
        any_batch: Whether a program can take batches of any size.
        write: Returns the files of a program by path.
        runner: Returns what runs them, by the engine that users run them by.
    """

    name: str
    main_file: str
    single_precision: bool
    any_batch: bool
    write: Callable[[FrozenAction], dict[str, bytes]]
    runner: Callable[[Mapping[str, bytes]], Run]


def _to_tflite(action: FrozenAction) -> dict[str, bytes]:
    try:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([action.function], tf.Module())
        with without_stderr():
            return {"policy.tflite": bytes(converter.convert())}
    except Exception as error:  # The converter raises many classes, among them one of its own.
        raise ConfigError(f"LiteRT cannot run the policy: {one_line(error)[:300]}") from error


def _run_tflite(files: Mapping[str, bytes]) -> Run:
    runner = new_interpreter(files["policy.tflite"]).get_signature_runner(SIGNATURE)
    return lambda inputs: runner(**inputs)


def _to_onnx(action: FrozenAction) -> dict[str, bytes]:
    try:
        # TensorFlow's tools are not needed by those who do not export.
        import tf2onnx
    except ImportError as error:
        raise ConfigError(f"ONNX needs tf2onnx ({error}): pip install 'distpolicy[onnx]'") from error
    inputs = [f"{leaf.name}:0" for leaf in action.signature.inputs]
    outputs = [f"{name}:0" for name in action.output_names]
    try:
        with without_stderr():
            model, _ = tf2onnx.convert.from_graph_def(
                without_broadcast_args(action.graph_def), input_names=inputs, output_names=outputs, opset=_OPSET
            )
    except Exception as error:  # It raises whatever went wrong in one of its hundred rewriters.
        raise ConfigError(f"tf2onnx cannot convert the policy: {one_line(error)[:300]}") from error
    _rename(model, {old: old.removesuffix(":0") for old in (*inputs, *outputs)})
    return {"policy.onnx": model.SerializeToString()}


def _rename(model: Any, names: Mapping[str, str]) -> None:
    """Gives inputs and outputs the names of the signature, without TensorFlow's ``:0``."""
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for values in (node.input, node.output):
            for index, value in enumerate(values):
                values[index] = names.get(value, value)


def _run_onnx(files: Mapping[str, bytes]) -> Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"ONNX needs onnxruntime ({error}): pip install 'distpolicy[onnx]'") from error
    session = onnxruntime.InferenceSession(files["policy.onnx"], providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _to_saved_model(action: FrozenAction) -> dict[str, bytes]:
    module = tf.Module()
    module.act = action.function
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: action.function})
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _run_saved_model(files: Mapping[str, bytes]) -> Run:
    with tempfile.TemporaryDirectory() as parent:
        for name, data in files.items():
            path = Path(parent) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        loaded = tf.saved_model.load(parent)
    function = loaded.signatures[SIGNATURE]

    def run(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    with contextlib.suppress(AttributeError):
        run.loaded = loaded  # type: ignore[attr-defined]  # it keeps the model alive
    return run


FORMATS = {
    item.name: item
    for item in (
        Format("tflite", "policy.tflite", True, False, _to_tflite, _run_tflite),
        Format("onnx", "policy.onnx", True, True, _to_onnx, _run_onnx),
        Format("saved_model", "", False, True, _to_saved_model, _run_saved_model),
    )
}
