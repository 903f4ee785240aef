"""The export command: writes a policy as a program that runs without distpolicy."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from distpolicy.export.folder import check_unused
from distpolicy.utils.quiet import without_stderr
from launch.output.writable import check_writable


def export_policy(folder: Path, target: str, out: Path, batch_size: int | None, console: Console) -> None:
    """Writes a policy and says what its inputs and outputs are.

    Args:
        folder: The policy, a SavedModel.
        target: What runs the program: ``tflite``, ``onnx`` or ``saved_model``.
        out: Folder to write.
        batch_size: Number of rows; None for any, or 1 for ``tflite``.
        console: Where to print.

    Raises:
        ConfigError: If the folder is in use or cannot be written, the policy cannot be exported, or the program
            differs from it.
        CheckpointError: If the policy is damaged.
        DistPolicyError: If the folder cannot be written.
    """
    # Before TensorFlow is imported, which takes seconds.
    check_unused(out)
    check_writable(out)
    # TensorFlow is for the CPU alone, and its messages are for its developers.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with without_stderr():
        from distpolicy.export.exporter import export
        from distpolicy.policies import policy_loader

        policy = policy_loader.load(folder)
        exported = export(policy, target, out, batch_size)
    difference = exported.difference
    console.print(f"{exported.main_file}: {exported.num_bytes / 1e3:,.0f} kB with its signature.json")
    for word, tensors in (("input", exported.signature.inputs), ("output", exported.signature.outputs)):
        for tensor in tensors:
            shape = ", ".join("B" if size is None else str(size) for size in tensor.shape)
            console.print(f"  {word} {tensor.name}: {tensor.dtype}[{shape}]")
    others = f", {difference.share_other:.2%} of the integers" if difference.share_other else ""
    console.print(
        f"compared with the policy on {difference.num_rows:,} random observations: max difference "
        f"{difference.largest:.2g}{others}"
    )
