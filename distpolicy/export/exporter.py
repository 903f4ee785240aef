"""export: writes a policy as a program that runs without distpolicy."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from distpolicy.export.check import Difference, compare
from distpolicy.export.folder import check_unused
from distpolicy.export.formats import FORMATS
from distpolicy.export.frozen_action import FrozenAction
from distpolicy.export.signature import SIGNATURE_FILE, Signature
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.utils.atomic_files import write_folder, writing


class Exported(NamedTuple):
    """What was written.

    Attributes:
        signature: The program's inputs and outputs.
        difference: How far it is from the policy.
        num_bytes: The size of its files.
        main_file: The file to open, or the folder.
    """

    signature: Signature
    difference: Difference
    num_bytes: int
    main_file: Path


def export(
    policy: TFPolicy, to: str, folder: Path, batch_size: int | None = None, num_check_rows: int = 256
) -> Exported:
    """Writes a policy, after a comparison with it on random observations.

    Args:
        policy: The policy.
        to: ``tflite``, ``onnx`` or ``saved_model``.
        folder: The folder to write, whole or not at all. It must not exist, or be empty. Folders above it are made.
        batch_size: Number of rows; None for any, or for 1 if the format takes one number alone.
        num_check_rows: Number of rows to compare in each of some steps.

    Raises:
        ConfigError: If the policy cannot be exported, the program differs from it, or the folder is in use.
        DistPolicyError: If the folder cannot be written.
    """
    form = FORMATS[to]
    check_unused(folder)
    if batch_size is None and not form.any_batch:
        batch_size = 1
    action = FrozenAction(policy, batch_size, form.single_precision)
    files = form.write(action)
    difference = compare(policy, action.signature, form.runner(files), num_check_rows)
    files[SIGNATURE_FILE] = action.signature.document(
        format=to, file=form.main_file or ".", policy=policy.name, max_difference=difference.largest
    )
    with writing(folder):
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_folder(folder, files)
    size = sum(map(len, files.values()))
    return Exported(action.signature, difference, size, folder / form.main_file)
