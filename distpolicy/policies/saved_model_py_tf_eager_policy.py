"""SavedModelPyTFEagerPolicy: a SavedModel's policy that takes and returns NumPy arrays."""

from __future__ import annotations

import os
import re
from typing import Any

from distpolicy.policies.py_tf_eager_policy import Inference, PyTFEagerPolicy
from distpolicy.policies.saved_model_policy import SavedModelPolicy
from distpolicy.trajectories.time_step import TimeStep


class SavedModelPyTFEagerPolicy(PyTFEagerPolicy):
    """A policy over NumPy arrays of a SavedModel that PolicySaver wrote, or TF-Agents' did.

    Public attributes that it does not have itself are those of the loaded model, such as functions that were registered
    with the saver.

    Args:
        model_path: Folder of the model.
        time_step_spec: A TimeStep of specs, and with it the specs below, for a model without ``policy_specs.pbtxt``.
        action_spec: Nest of specs.
        policy_state_spec: Nest of specs.
        info_spec: Nest of specs.
        load_specs_from_pbtxt: Changes nothing, since specs that are not given are always looked for there; TF-Agents'
            policy has to be told.
        use_tf_function: Whether the call is compiled.
        batch_time_steps: Whether time steps come without a batch dimension, which is then added and taken away.
        jit_compile: As of PyTFEagerPolicy.
        seed: As of PyTFEagerPolicy.
        inference: As of PyTFEagerPolicy.

    Raises:
        CheckpointError: If the folder holds no SavedModel of a policy, or it is damaged.
        ConfigError: If no specs are given and none are beside the model, or it takes something else than time steps.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        time_step_spec: TimeStep | None = None,
        action_spec: Any = None,
        policy_state_spec: Any = (),
        info_spec: Any = (),
        load_specs_from_pbtxt: bool = False,
        use_tf_function: bool = False,
        batch_time_steps: bool = True,
        jit_compile: bool | None = None,
        seed: int | None = None,
        inference: Inference = "tf",
    ) -> None:
        self._saved_model_policy = SavedModelPolicy(
            model_path, time_step_spec, action_spec, policy_state_spec, info_spec
        )
        self._train_step_from_path: int | None = None
        super().__init__(
            self._saved_model_policy,
            use_tf_function=use_tf_function,
            batch_time_steps=batch_time_steps,
            jit_compile=jit_compile,
            seed=seed,
            inference=inference,
        )

    def get_train_step(self) -> int:
        """The train step that the model, or the last checkpoint, was saved with; -1 if there was none."""
        return self._saved_model_policy.get_train_step()

    def get_train_step_from_last_restored_checkpoint_path(self) -> int | None:
        """The number at the end of the last checkpoint's path, after a ``_``; None if there is none."""
        return self._train_step_from_path

    def get_metadata(self) -> dict[str, Any]:
        """The metadata that the model, or the last checkpoint, was saved with, as NumPy values by name."""
        return self._saved_model_policy.get_metadata()

    def update_from_checkpoint(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Takes the variables, train step and metadata of a later save of the same policy.

        Args:
            checkpoint_path: Folder that ``PolicySaver.save_checkpoint`` or ``PolicySaver.save`` wrote.

        Raises:
            CheckpointError: If it holds no checkpoint, is damaged, or is of another policy; nothing has changed then.
        """
        self._saved_model_policy.update_from_checkpoint(checkpoint_path)
        self.refresh()
        number = re.search(r"_(\d+)$", os.fspath(checkpoint_path).rstrip("/"))
        self._train_step_from_path = int(number.group(1)) if number else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._saved_model_policy.saved_model, name)
