"""PyTFEagerPolicy: a policy that takes and returns NumPy arrays.

TensorFlow is imported where a TFPolicy is wrapped: a process that acts by a policy's program does not need it.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.policies.action_program import PreparedSeed, example_steps
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.compilation.litert_program import LiteRTError
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.utils.sampling.array_draws import array_seed, row_seeds
from distpolicy.weights import VariableLayout, layout_of

if TYPE_CHECKING:
    from distpolicy.policies.compiled_action import CompiledAction
    from distpolicy.policies.eager_action import EagerAction
    from distpolicy.policies.litert_action import LiteRTAction
    from distpolicy.policies.saved_model_policy import SavedModelPolicy
    from distpolicy.policies.tf_policy import TFPolicy
    from distpolicy.utils.variables.module_variables import NamedVariable
    from distpolicy.weights import WeightView

_logger = logging.getLogger(__name__)

Inference = Literal["tf", "litert", "auto"]


class PyTFEagerPolicyBase(PyPolicy):
    """Wraps an object with a TFPolicy's ``action`` for environments of NumPy arrays.

    For a TFPolicy use :class:`PyTFEagerPolicy`, which takes the specs from it.

    Args:
        policy: An object with ``action(time_step, policy_state, seed)``, ``get_initial_state(batch_size)`` and
            ``variables()``, and with ``update`` if this policy is to be updated. Its variables stay shared. Or a
            :class:`distpolicy.policies.policy_program.ProgramPolicy`, which LiteRT runs without TensorFlow.
        time_step_spec: Array specs of one time step, without batch dimensions.
        action_spec: Nest of bounded array specs.
        policy_state_spec: Nest of array specs.
        info_spec: Nest of array specs.
        use_tf_function: Whether the call is compiled. It is traced once for each batch size; new seeds do not retrace.
            LiteRT always compiles.
        batch_time_steps: Whether time steps come without a batch dimension. The policy then adds and removes it.
        jit_compile: Whether XLA compiles the call; None tries it and falls back to a plain tf.function if XLA cannot
            compile the policy.
        seed: Seed of the draws in calls without a seed; None for one from the system.
        inference: ``tf``, ``litert`` or ``auto``. ``litert`` runs a converted copy of the policy, which is many times
            as fast for small networks. What the package does to these variables renews the copy; after
            assigning to one yourself call :meth:`refresh`. A policy that cannot be converted runs in TensorFlow;
            :attr:`inference_note` says why. ``auto`` takes LiteRT if the policy can be converted and TensorFlow
            has no GPU.

    Raises:
        ConfigError: If ``inference`` is another value.
    """

    def __init__(
        self,
        policy: Any,
        time_step_spec: TimeStep,
        action_spec: Any,
        policy_state_spec: Any,
        info_spec: Any,
        use_tf_function: bool = False,
        batch_time_steps: bool = True,
        jit_compile: bool | None = None,
        seed: int | None = None,
        inference: Inference = "tf",
    ) -> None:
        if inference not in ("tf", "litert", "auto"):
            raise ConfigError(f"inference must be 'tf', 'litert' or 'auto', not {inference!r}")
        super().__init__(
            time_step_spec,
            action_spec,
            policy_state_spec,
            info_spec,
            getattr(policy, "observation_and_action_constraint_splitter", None),
        )
        self._policy = policy
        self._batch_time_steps = batch_time_steps
        self._seeds = np.random.default_rng(seed)
        self._inference_note = ""
        self._wants_litert = inference == "litert"
        self._tensorflow: CompiledAction | EagerAction | None = None
        self._litert: LiteRTAction | ProgramPolicy | None = None
        self._is_compiled = use_tf_function or inference != "tf" or isinstance(policy, ProgramPolicy)
        if isinstance(policy, ProgramPolicy):
            self._litert = policy
        else:
            self._take_engines(policy, jit_compile, inference)

    def _take_engines(self, policy: Any, jit_compile: bool | None, inference: Inference) -> None:
        import tensorflow as tf

        from distpolicy.policies.compiled_action import CompiledAction
        from distpolicy.policies.eager_action import EagerAction
        from distpolicy.policies.litert_action import LiteRTAction

        self._tensorflow = CompiledAction(policy, jit_compile) if self._is_compiled else EagerAction(policy)
        if inference == "auto":
            has_gpu = bool(tf.config.get_visible_devices("GPU"))
            self._inference_note = "TensorFlow has a GPU" if has_gpu else ""
        if inference != "tf" and not self._inference_note:
            self._litert = LiteRTAction(policy)

    @property
    def policy(self) -> Any:
        """The wrapped policy."""
        return self._policy

    @property
    def inference(self) -> str:
        """The engine that computes actions, ``tf`` or ``litert``. It may still change at the first action."""
        return "tf" if self._litert is None else "litert"

    @property
    def inference_note(self) -> str:
        """Why LiteRT is not used although ``inference`` asked for it; otherwise empty."""
        return self._inference_note

    @property
    def tracing_count(self) -> int:
        """Number of times the call was traced or converted: once for each batch size."""
        if self._litert is not None:
            return self._litert.tracing_count
        return 0 if self._tensorflow is None else self._tensorflow.tracing_count

    @property
    def jit_compiled(self) -> bool:
        """Whether XLA compiled the call."""
        return self._litert is None and self._tensorflow is not None and self._tensorflow.jit_compiled

    def named_variables(self) -> list[NamedVariable] | list[WeightView]:
        """Returns the wrapped policy's variables with their paths: tf.Variables, or a program's arrays."""
        return self._policy.named_variables()

    @property
    def variable_layout(self) -> tuple[VariableLayout, ...]:
        """What each of the wrapped policy's variables is."""
        return layout_of(self._policy)

    def variables(self) -> tuple[Any, ...]:
        """Returns copies of the wrapped policy's variables as arrays."""
        return tuple(np.array(variable) for variable in self._policy.variables())

    def update(
        self,
        policy: Any,
        tau: float = 1.0,
        tau_non_trainable: float | None = None,
        sort_variables_by_name: bool = False,
    ) -> None:
        """Updates the wrapped policy; see :meth:`TFPolicy.update`."""
        self._policy.update(policy, tau, tau_non_trainable, sort_variables_by_name)

    def refresh(self) -> None:
        """Copies the variables into LiteRT's program. Needed only after assigning to variables yourself."""
        if self._litert is not None:
            self._litert.refresh()

    def get_initial_state(self, batch_size: int | None = None) -> Any:
        """Returns the wrapped policy's initial state as tensors, or as arrays from a program.

        Args:
            batch_size: The batch size. None means 1 if ``batch_time_steps``, otherwise no batch dimension.
        """
        if batch_size is None and self._batch_time_steps:
            batch_size = 1
        return self._policy.get_initial_state(batch_size)

    def warm_up(self, batch_size: int) -> None:
        """Compiles the call for batches of this size with a seed for each row, which is how collectors call it."""
        if not self._batch_time_steps and self._is_compiled:
            step = example_steps(self.time_step_spec, batch_size)
            self.action(step, self.get_initial_state(batch_size), np.zeros((batch_size, 2), np.int32))

    def prepare_seeds(self, seeds: np.ndarray) -> Any:
        """Draws the random numbers of the next T calls at once. Actions are the same as with the seeds themselves.

        Args:
            seeds: int32 ``[T, B, 2]``.

        Returns:
            T seeds, one for each call of :meth:`action`.
        """
        return seeds if self._litert is None else self._litert.prepare_seeds(seeds)

    def action(self, time_step: TimeStep, policy_state: Any = (), seed: Any = None) -> PolicyStep:
        """Returns the action for a time step. Collectors call this at every step.

        Args:
            time_step: Nest of arrays.
            policy_state: The state that the last call returned, or the initial one.
            seed: None for the next of this policy's own seeds, an int, an int32 array ``[2]``, one for each row,
                ``[B, 2]``, or one of :meth:`prepare_seeds`.

        Returns:
            Action and info as arrays; the state as tensors or arrays, always with a batch dimension.

        Raises:
            ValueError: If a structure or shape does not match its spec.
            TypeError: If a dtype or container type does not match.
        """
        if self._batch_time_steps:
            return self._action(time_step, policy_state, seed)
        return self._batched_action(time_step, policy_state, seed)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        step = self._batched_action(map_structure(lambda leaf: np.expand_dims(leaf, 0), time_step), policy_state, seed)
        return PolicyStep(
            map_structure(lambda leaf: leaf[0], step.action), step.state, map_structure(lambda leaf: leaf[0], step.info)
        )

    def _batched_action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        if isinstance(seed, PreparedSeed):
            if self._litert is not None:
                return self._litert(time_step, policy_state, seed)
            seed = seed.seed
        seed = self._stateless(seed)
        shape = time_step.step_type.shape
        if len(shape) == 1:
            if seed.ndim == 1:
                seed = row_seeds(seed, shape[0])
            if self._litert is not None:
                try:
                    return self._litert(time_step, policy_state, seed)
                except LiteRTError as error:
                    self._fall_back(error)
        if self._tensorflow is None:
            raise ValueError(
                f"{self._policy.name} is a program, which takes a batch of time steps, but step_type has the shape "
                f"{shape}"
            )
        return self._tensorflow(time_step, policy_state, seed)

    def _fall_back(self, error: LiteRTError) -> None:
        if self._tensorflow is None:
            raise error
        self._litert = None
        self._inference_note = str(error)
        level = logging.WARNING if self._wants_litert else logging.INFO
        name = getattr(self._policy, "name", type(self._policy).__name__)
        _logger.log(level, "%s runs in TensorFlow, not in LiteRT: %s", name, error)

    def _stateless(self, seed: Any) -> np.ndarray:
        """Returns the seed as an int32 array ``[2]`` or ``[B, 2]``, so that a new seed does not retrace the call."""
        if isinstance(seed, np.ndarray) and seed.dtype == np.int32:
            return seed
        if seed is None:
            return self._seeds.integers(np.iinfo(np.int32).max, size=2, dtype=np.int32)
        return array_seed(seed)


class PyTFEagerPolicy(PyTFEagerPolicyBase):
    """Wraps a policy for environments of NumPy arrays. Collectors act by it at every step.

    :class:`PyTFEagerPolicyBase` explains the arguments in full.

    Args:
        policy: The policy to wrap. Its variables stay shared.
        use_tf_function: Whether the call is compiled.
        batch_time_steps: Whether time steps come without a batch dimension.
        jit_compile: Whether XLA compiles the call.
        seed: Seed of the draws in calls without a seed.
        inference: ``tf``, ``litert`` or ``auto``.
    """

    def __init__(
        self,
        policy: TFPolicy | ProgramPolicy,
        use_tf_function: bool = False,
        batch_time_steps: bool = True,
        jit_compile: bool | None = None,
        seed: int | None = None,
        inference: Inference = "tf",
    ) -> None:
        # PyPolicy converts tensor specs.
        super().__init__(
            policy,
            policy.time_step_spec,
            policy.action_spec,
            policy.policy_state_spec,
            policy.info_spec,
            use_tf_function,
            batch_time_steps,
            jit_compile,
            seed,
            inference,
        )


class SavedModelPyTFEagerPolicy(PyTFEagerPolicy):
    """A policy over NumPy arrays, loaded from a SavedModel that distpolicy's or TF-Agents' PolicySaver wrote.

    Other public attributes come from the loaded model, such as functions registered with the saver.

    Args:
        model_path: Folder of the model.
        time_step_spec: A TimeStep of specs. This and the specs below are for a model without ``policy_specs.pbtxt``.
        action_spec: Nest of specs.
        policy_state_spec: Nest of specs.
        info_spec: Nest of specs.
        load_specs_from_pbtxt: Ignored; for compatibility with TF-Agents. Missing specs are always read from the file.
        use_tf_function: Whether the call is compiled.
        batch_time_steps: Whether time steps come without a batch dimension.
        jit_compile: Whether XLA compiles the call.
        seed: Seed of the draws in calls without a seed.
        inference: ``tf``, ``litert`` or ``auto``.

    Raises:
        CheckpointError: If the folder does not hold a SavedModel of a policy, or the model is damaged.
        ConfigError: If there are no specs, or the model's inputs are not time steps.
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
        from distpolicy.policies.saved_model_policy import SavedModelPolicy

        self._saved_model_policy: SavedModelPolicy = SavedModelPolicy(
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

    def variables(self) -> tuple[Any, ...]:
        """Returns the model's tf.Variables, while other policies return copies of theirs as arrays.

        With ``inference="litert"`` call :meth:`refresh` after assigning to one.
        """
        return self._saved_model_policy.variables()

    def get_train_step(self) -> int:
        """Returns the train step that the model, or the last checkpoint, was saved with; -1 if there was none."""
        return self._saved_model_policy.get_train_step()

    def get_train_step_from_last_restored_checkpoint_path(self) -> int | None:
        """Returns the number after the last ``_`` of the last checkpoint's path; None if there is none."""
        return self._train_step_from_path

    def get_metadata(self) -> dict[str, Any]:
        """Returns the metadata that the model, or the last checkpoint, was saved with, as NumPy values by name."""
        return self._saved_model_policy.get_metadata()

    def update_from_checkpoint(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Loads the variables, train step and metadata of a later save of the same policy.

        Args:
            checkpoint_path: Folder that ``PolicySaver.save_checkpoint`` or ``PolicySaver.save`` wrote.

        Raises:
            CheckpointError: If the folder does not hold a checkpoint, or if the checkpoint is damaged or belongs to
                another policy. Nothing has changed then.
        """
        self._saved_model_policy.update_from_checkpoint(checkpoint_path)
        number = re.search(r"_(\d+)$", os.fspath(checkpoint_path).rstrip("/"))
        self._train_step_from_path = int(number.group(1)) if number else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._saved_model_policy.saved_model, name)
