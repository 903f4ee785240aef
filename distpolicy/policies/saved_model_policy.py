"""SavedModelPolicy: a policy loaded from a SavedModel that distpolicy's or TF-Agents' PolicySaver wrote."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.distribution_coding import decode_distribution
from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.policies.action_program import Draw
from distpolicy.policies.policy_saver import POLICY_SPECS_JSON, POLICY_SPECS_PBTXT, specs_from_collect_data_spec
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories import policy_step as ps
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.files.bounded_files import check_file, parse_json
from distpolicy.utils.files.gfiles import read_gfile
from distpolicy.utils.nest_utils import flatten_up_to
from distpolicy.utils.nests.array_nest import flatten, pack_leaves
from distpolicy.utils.nests.integer_keys import with_integer_keys, with_keys_of, with_string_keys
from distpolicy.utils.sampling.tensor_draws import fold_rows, row_uniform
from distpolicy.utils.variables.module_variables import NamedVariable
from distpolicy.utils.variables.saved_variables import read_variables
from distpolicy.utils.variables.variable_watch import mark_updated

# The most that a protocol buffer may have.
_MAX_PROTO_BYTES = 2**31 - 1
_MAX_DETAILS_BYTES = 64 * 2**20

_logger = logging.getLogger(__name__)


class SavedModelPolicy(TFPolicy):
    """Calls the functions of a SavedModel, and otherwise behaves like any TFPolicy.

    It can be wrapped, updated from another policy and saved again. Its variables keep the paths that they had in the
    saved policy.

    A model that TF-Agents wrote does not take a seed. It draws actions from its own random stream and ignores seeds.

    Args:
        saved_model_path: Folder of the model.
        time_step_spec: A TimeStep of specs. This and the specs below are for a model without ``policy_specs.pbtxt``.
        action_spec: Nest of specs.
        policy_state_spec: Nest of specs.
        info_spec: Nest of specs.
        name: Name of the module; the class's by default.

    Raises:
        CheckpointError: If the folder does not hold a SavedModel of a policy, or the model is damaged.
        ConfigError: If there are no specs, or the model's inputs are not time steps.
    """

    def __init__(
        self,
        saved_model_path: str | os.PathLike[str],
        time_step_spec: TimeStep | None = None,
        action_spec: Any = None,
        policy_state_spec: Any = (),
        info_spec: Any = (),
        name: str | None = None,
    ) -> None:
        path = os.fspath(saved_model_path)
        saved, details = _load(path), _read_details(path)
        if time_step_spec is None:
            specs = _read_specs(path, details.get("integer_keys", ()))
            time_step_spec, action_spec = specs["time_step_spec"], specs["action_spec"]
            policy_state_spec, info_spec = specs["policy_state_spec"], specs["info_spec"]
        # The saved action already clips actions and resets the state.
        super().__init__(
            time_step_spec,
            action_spec,
            policy_state_spec,
            _with_own_classes(info_spec),
            clip=False,
            automatic_state_reset=False,
            name=name,
        )
        self._emit_log_probability = ps.get_log_probability(self.info_spec) is not None
        self._path = path
        self._saved = saved
        # Avoids tf.Module's tracking, which would wrap dicts and lists.
        object.__setattr__(self, "_details", details)
        variables = list(saved.model_variables)
        paths = self._details.get("variables", [f"model_variables/{index}" for index in range(len(variables))])
        if len(paths) != len(variables):
            raise CheckpointError(
                f"{path}: {POLICY_SPECS_JSON} and the model have different numbers of variables; save the policy again"
            )
        object.__setattr__(
            self, "_variables_by_path", [NamedVariable(*pair) for pair in zip(paths, variables, strict=True)]
        )
        arguments = [trace.structured_input_signature[0] for trace in saved.action.concrete_functions]
        if not all(hasattr(form[0], "step_type") for form in arguments):
            raise ConfigError(
                f"{path} was saved with input_fn_and_spec and does not take time steps; use tf.saved_model.load"
            )
        self._batch_size = tf.nest.flatten(arguments[0])[0].shape[0]
        self._takes_seed = any(len(form) > 2 and form[2] is not None for form in arguments)
        # Models of earlier versions have neither the function nor its draws.
        self._draws = _draws(details.get("draws", []), path) if hasattr(saved, "action_from_noise") else ()
        if not self._takes_seed:
            _logger.info("%s was not saved by distpolicy, so its actions ignore the seeds of calls", path)

    @property
    def saved_model(self) -> Any:
        """The object that TensorFlow loaded. Functions registered with the saver are its attributes."""
        return self._saved

    def named_variables(self) -> list[NamedVariable]:
        """Returns the model's variables with their paths in the saved policy."""
        return list(self._variables_by_path)

    def get_train_step(self) -> int:
        """Returns the train step that the model was saved with; -1 if there was none."""
        return int(self._saved.get_train_step())

    def get_metadata(self) -> dict[str, Any]:
        """Returns the metadata that the model was saved with, as NumPy values by name."""
        return {key: value.numpy() for key, value in self._saved.get_metadata().items()}

    def update_from_checkpoint(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Loads the variables, train step and metadata of a later save of the same policy.

        Args:
            checkpoint_path: Folder that ``PolicySaver.save_checkpoint`` or ``PolicySaver.save`` wrote.

        Raises:
            CheckpointError: If the folder does not hold a checkpoint, or if the checkpoint is damaged or belongs to
                another policy. Nothing has changed then.
        """
        variables = {f"model_variables/{index}": item.variable for index, item in enumerate(self._variables_by_path)}
        variables["train_step"] = self._saved.train_step
        variables |= {f"metadata/{key}": variable for key, variable in self._saved.metadata.items()}
        values = read_variables(checkpoint_path, list(variables))
        for (path, variable), value in zip(variables.items(), values, strict=True):
            if variable.shape != value.shape or variable.dtype != value.dtype:
                raise CheckpointError(
                    f"{checkpoint_path} belongs to another policy: {path} has shape {value.shape} and dtype "
                    f"{value.dtype} there, but {tuple(variable.shape)} and {variable.dtype.name} here"
                )
        for variable, value in zip(variables.values(), values, strict=True):
            variable.assign(value)
        mark_updated(variables.values())

    def _get_initial_state(self, batch_size: Any) -> Any:
        if not tf.nest.flatten(self.policy_state_spec):
            return self.policy_state_spec
        if batch_size is None:
            state = self._get_initial_state(self._batch_size or 1)
            return tf.nest.map_structure(lambda leaf: leaf[0], state)
        if self._batch_size is None:
            state = self._saved.get_initial_state(tf.cast(batch_size, tf.int32))
        else:
            self._check_batch_size(tf.get_static_value(batch_size))
            state = self._saved.get_initial_state()
        state = with_keys_of(self.policy_state_spec, state)
        return tf.nest.pack_sequence_as(self.policy_state_spec, tf.nest.flatten(state))

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        outer = tf.convert_to_tensor(time_step.step_type).shape.rank
        inputs = self._batched(time_step, policy_state, outer)
        if seed is None or not self._takes_seed:
            step = self._saved.action(*inputs)
        elif self._draws and outer == 1 and seed.shape.rank == 2:
            # The same numbers as in the model. Here another engine may draw them instead.
            noise = tuple(
                row_uniform(seed if draw.offset is None else seed + draw.offset, draw.num) for draw in self._draws
            )
            step = self._saved.action_from_noise(*inputs, noise, seed)
        else:
            # The model gets B * T rows here, but there are only B seeds, so these are combined into one.
            step = self._saved.action(*inputs, fold_rows(seed) if seed.shape.rank == 2 and outer != 1 else seed)
        spec = self.policy_step_spec
        parts = zip(spec, (step.action, step.state, step.info), strict=True)
        leaves = [tf.nest.flatten(with_keys_of(nest, part)) for nest, part in parts]
        if outer != 1:
            shape = tf.shape(time_step.step_type)
            leaves = [[tf.reshape(leaf, tf.concat([shape, tf.shape(leaf)[1:]], 0)) for leaf in part] for part in leaves]
        return PolicyStep(*(tf.nest.pack_sequence_as(nest, part) for nest, part in zip(spec, leaves, strict=True)))

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        function = getattr(self._saved, "distribution", None)
        # TF-Agents saves a function without a result if it cannot save the distribution.
        if function is None or function.concrete_functions[0].structured_outputs is None:
            raise NotImplementedError(f"{self._path} was saved without a distribution; only action() works")
        outer = tf.convert_to_tensor(time_step.step_type).shape.rank
        step = function(*self._batched(time_step, policy_state, outer))
        descriptions = self._details.get("distributions")
        if descriptions is None:
            distributions = tf.nest.flatten(step.action)
        else:
            tensors = flatten_up_to(with_string_keys(self.action_spec), step.action)
            try:
                saved = [decode_distribution(*pair) for pair in zip(descriptions, tensors, strict=True)]
            except Exception as error:  # The descriptions may be anything.
                file = os.path.join(self._path, POLICY_SPECS_JSON)
                raise CheckpointError(f"{file} does not describe the distributions of the model: {error!r}") from error
            packed = pack_leaves(with_string_keys(self.action_spec), saved)
            distributions = flatten(with_keys_of(self.action_spec, packed))
        state = tf.nest.flatten(with_keys_of(self.policy_state_spec, step.state))
        if outer != 1:
            shape = tf.shape(time_step.step_type)
            distributions = [_with_batch_shape(item, shape) for item in distributions]
            state = [tf.reshape(leaf, tf.concat([shape, tf.shape(leaf)[1:]], 0)) for leaf in state]
        # TF-Agents' policies may leave out the info in distribution().
        info_spec = self.info_spec
        info = tf.nest.flatten(with_keys_of(info_spec, step.info) if tf.nest.flatten(step.info) else ())
        return PolicyStep(
            tf.nest.pack_sequence_as(self.action_spec, distributions),
            tf.nest.pack_sequence_as(self.policy_state_spec, state),
            tf.nest.pack_sequence_as(info_spec, info) if len(info) == len(tf.nest.flatten(info_spec)) else (),
        )

    def _batched(self, time_step: TimeStep, policy_state: Any, outer: int) -> tuple[Any, Any]:
        """Returns time step and state in the saved function's own containers, with one batch dimension."""
        if outer > 1 and tf.nest.flatten(self.policy_state_spec):
            raise ConfigError(f"{self.name} is a stateful SavedModel; pass time steps one at a time, [B, ...]")
        time_step = tf.nest.pack_sequence_as(self.time_step_spec, tf.nest.flatten(time_step))

        def batched(leaf: Any, spec: Any) -> tf.Tensor:
            leaf = tf.convert_to_tensor(leaf)
            if outer == 1:
                return leaf
            return tf.reshape(leaf, tf.concat([[-1], tf.shape(leaf)[leaf.shape.rank - spec.shape.rank :]], 0))

        time_step = tf.nest.map_structure(batched, time_step, self.time_step_spec)
        self._check_batch_size(time_step.step_type.shape[0])
        policy_state = tf.nest.map_structure(batched, policy_state, self.policy_state_spec)
        return with_string_keys(time_step), with_string_keys(policy_state)

    def _check_batch_size(self, batch_size: Any) -> None:
        if None not in (self._batch_size, batch_size) and int(batch_size) != self._batch_size:
            raise ConfigError(
                f"{self._path} was saved for batches of {self._batch_size}, but got one of {int(batch_size)}; "
                "save it with batch_size=None for batches of any size"
            )


def _load(path: str) -> Any:
    if not any(tf.io.gfile.exists(os.path.join(path, name)) for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise CheckpointError(f"{path} holds no saved_model.pb; give the folder that PolicySaver.save wrote")
    # TF-Agents' models return distributions. TensorFlow knows their types only after TFP has been imported.
    assert tfp.distributions.Distribution is not None
    _check_files(path)
    try:
        saved = tf.saved_model.load(path)
    except Exception as error:  # TensorFlow raises a dozen error classes for damaged files.
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} cannot be loaded as a SavedModel: {first_line}") from error
    for name in ("action", "get_initial_state", "get_train_step", "get_metadata", "model_variables", "train_step"):
        if not hasattr(saved, name):
            raise CheckpointError(f"{path} is a SavedModel, but not of a policy: it has no {name}")
    return saved


def _check_files(path: str) -> None:
    """Checks that a local folder has only files that TensorFlow can read."""
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            try:
                check_file(file, _MAX_PROTO_BYTES if name.startswith("saved_model.pb") else sys.maxsize)
            except (OSError, ValueError) as error:
                raise CheckpointError(f"{file} cannot be read: {error}") from error


def _read_specs(path: str, integer_keys: Collection[str]) -> dict[str, Any]:
    file = os.path.join(path, POLICY_SPECS_PBTXT)
    if not tf.io.gfile.exists(file):
        raise ConfigError(f"{path} holds no {POLICY_SPECS_PBTXT}; give time_step_spec and action_spec")
    specs = tensor_spec.from_pbtxt_file(file)
    try:
        return specs_from_collect_data_spec(with_integer_keys(specs, integer_keys))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file} does not hold the specs of a policy: {error!r}; save the policy again"
        ) from error


def _read_details(path: str) -> dict[str, Any]:
    """Returns the content of ``policy_specs.json``; empty for a model that TF-Agents wrote."""
    file = os.path.join(path, POLICY_SPECS_JSON)
    if not tf.io.gfile.exists(file):
        return {}
    try:
        details = parse_json(read_gfile(file, _MAX_DETAILS_BYTES))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not isinstance(details, dict):
        raise CheckpointError(f"{file} cannot be read: it does not hold a JSON object; save the policy again")
    variables = details.get("variables", [])
    if not isinstance(variables, list) or not all(isinstance(name, str) for name in variables):
        raise CheckpointError(f"{file} cannot be read: its variables are not a list of names; save the policy again")
    return details


def _draws(described: Any, path: str) -> tuple[Draw, ...]:
    """Returns the draws whose numbers the model's ``action_from_noise`` takes."""
    try:
        return tuple(
            Draw(None if item["offset"] is None else np.array(item["offset"], np.int32).reshape(2), int(item["num"]))
            for item in described
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        file = os.path.join(path, POLICY_SPECS_JSON)
        raise CheckpointError(f"{file} does not describe the draws of the model; save the policy again") from error


def _with_own_classes(info_spec: Any) -> Any:
    """Returns the info's specs with a real PolicyInfo. A PolicyInfo read from a file is another namedtuple class."""
    if type(info_spec).__name__ == "PolicyInfo":
        return ps.PolicyInfo(*info_spec)
    return info_spec


def _with_batch_shape(distribution: Any, outer_shape: tf.Tensor) -> Any:
    shape = tf.concat([outer_shape, distribution.batch_shape_tensor()[1:]], 0)
    return tfp.distributions.BatchReshape(distribution, shape)
