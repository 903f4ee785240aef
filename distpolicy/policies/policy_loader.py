"""Functions that load what distpolicy's or TF-Agents' PolicySaver wrote."""

from __future__ import annotations

import os

import tensorflow as tf

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.policies.policy_saver import POLICY_SPECS_JSON, POLICY_SPECS_PBTXT
from distpolicy.policies.saved_model_policy import SavedModelPolicy
from distpolicy.utils.variables.saved_variables import tensor_shapes
from distpolicy.utils.whole_folder import whole_folder


def load(
    saved_model_path: str | os.PathLike[str], checkpoint_path: str | os.PathLike[str] | None = None
) -> SavedModelPolicy:
    """Loads the policy of a SavedModel.

    The result is a TFPolicy over tensors, which other policies can wrap. TF-Agents' ``load`` returns a policy over
    NumPy arrays; ``SavedModelPyTFEagerPolicy(saved_model_path)`` makes one.

    Args:
        saved_model_path: Folder that ``PolicySaver.save`` wrote.
        checkpoint_path: Folder that a later ``PolicySaver.save_checkpoint`` wrote, to take the variables from; None for
            the model's own.

    Raises:
        CheckpointError: If a folder does not hold a model or checkpoint, is damaged, or the two belong to different
            policies.
        ConfigError: If the model's folder has no specs.
    """
    policy = SavedModelPolicy(saved_model_path)
    if checkpoint_path is not None:
        policy.update_from_checkpoint(checkpoint_path)
    return policy


def materialize_saved_model(
    saved_model_path: str | os.PathLike[str],
    checkpoint_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
) -> None:
    """Writes a SavedModel with a model's functions and a checkpoint's variables, either whole or not at all.

    Args:
        saved_model_path: Folder that ``PolicySaver.save`` wrote.
        checkpoint_path: Folder that ``PolicySaver.save_checkpoint`` wrote later.
        output_path: Folder to write. It must not exist.

    Raises:
        ConfigError: If ``output_path`` exists.
        CheckpointError: If a folder is missing or damaged, or the two belong to different policies.
    """
    model, checkpoint, output = os.fspath(saved_model_path), os.fspath(checkpoint_path), os.fspath(output_path)
    if tf.io.gfile.exists(output):
        raise ConfigError(f"{output} exists; give a folder that does not")
    if not tf.io.gfile.exists(os.path.join(model, tf.saved_model.SAVED_MODEL_FILENAME_PB)):
        raise CheckpointError(f"{model} holds no saved_model.pb; give the folder that PolicySaver.save wrote")
    available = tensor_shapes(checkpoint)
    for key, expected in tensor_shapes(model).items():
        if available.get(key) != expected:
            raise CheckpointError(
                f"{checkpoint} does not fit the model {model}: {key} is {_describe(available.get(key))} in the "
                f"checkpoint, but {_describe(expected)} in the model"
            )
    with whole_folder(output) as scratch:
        tf.io.gfile.makedirs(scratch)
        _copy_folder(model, scratch, tf.saved_model.ASSETS_DIRECTORY)
        _copy_folder(checkpoint, scratch, tf.saved_model.VARIABLES_DIRECTORY)
        for name in (tf.saved_model.SAVED_MODEL_FILENAME_PB, "fingerprint.pb", POLICY_SPECS_JSON, POLICY_SPECS_PBTXT):
            if tf.io.gfile.exists(os.path.join(model, name)):
                tf.io.gfile.copy(os.path.join(model, name), os.path.join(scratch, name))


def _describe(variable: tuple[list[int], tf.DType] | None) -> str:
    return "missing" if variable is None else f"{variable[1].name} of shape {variable[0]}"


def _copy_folder(source: str, target: str, name: str) -> None:
    for folder, _, files in tf.io.gfile.walk(os.path.join(source, name)):
        copied = os.path.join(target, os.path.relpath(folder, source))
        tf.io.gfile.makedirs(copied)
        for file in files:
            tf.io.gfile.copy(os.path.join(folder, file), os.path.join(copied, file))
