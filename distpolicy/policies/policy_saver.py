"""PolicySaver: writes a policy as a SavedModel that TensorFlow alone can serve."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.policies.saved_functions import BATCH_SIZE_SPEC, SEED_SPEC, SavedFunctions, with_outer_dims
from distpolicy.policies.saved_signature import flat_signature, has_names, quiet_about_names, spec_names
from distpolicy.policies.string_keys_policy import StringKeysPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.integer_keys import integer_key_paths, with_string_keys
from distpolicy.utils.variables.saved_variables import variables_prefix
from distpolicy.utils.whole_folder import whole_folder

POLICY_SPECS_PBTXT = "policy_specs.pbtxt"
POLICY_SPECS_JSON = "policy_specs.json"

_FILES = frozenset(
    {"saved_model.pb", "fingerprint.pb", "variables", "assets", "debug", POLICY_SPECS_PBTXT, POLICY_SPECS_JSON}
)


class PolicySaver:
    """Writes a policy as a SavedModel. ``tf.saved_model.load`` can act with it in a process without distpolicy.

    The loaded object has

    - ``action(time_step, policy_state=(), seed=None)``, which returns a PolicyStep. The time step is any namedtuple
      called TimeStep with the same fields. For a stateful policy the state may be left out at FIRST steps only. A seed
      is int32 ``[2]``, or one for each row, ``[B, 2]``, and leads to the same actions as in the policy itself;
    - ``action_from_noise(time_step, policy_state, noise, seed)``, if the policy draws from its rows' seeds. It does the
      same, but takes the uniform numbers of each draw, so that a process without TensorFlow can draw them;
    - ``distribution(time_step, policy_state=())``, if the policy has distributions from TFP or distpolicy. It returns a
      PolicyStep with dicts of their parameters as actions, since distributions cannot be loaded without TFP.
      ``policy_loader.load`` rebuilds them from the parameters;
    - ``get_initial_state(batch_size)``, ``get_train_step()``, ``get_metadata()``, ``model_variables``, ``train_step``
      and ``metadata``.

    Its signatures ``action``, ``action_with_seed``, ``distribution``, ``get_initial_state``, ``get_train_step`` and
    ``get_metadata`` take and return flat dicts of tensors, named by their paths: ``0/observation`` (argument 0 of
    ``action``), ``1/...`` for the state, ``action``, ``state/...``, ``info/...``.

    Two files lie beside the model: ``policy_specs.pbtxt`` with the specs in TF-Agents' format, and
    ``policy_specs.json`` with what that format cannot hold: the variables' paths, the distributions' types, the draws,
    and which dicts have integers as keys. The saved functions take and return strings as keys.

    Args:
        policy: The policy. Its variables and its observation normaliser are saved with it.
        batch_size: A fixed batch size, or None for an open one.
        use_nest_path_signatures: Whether tensors in signatures are named by their paths instead of by their specs.
        seed: Seed of the random stream for calls without a seed; an int makes a newly loaded model's actions
            reproducible.
        train_step: An integer tf.Variable; its value is part of each save. None saves -1.
        input_fn_and_spec: ``(input_fn, spec)`` for a model whose input is not a time step. ``input_fn`` maps a nest
            like the spec, with a batch dimension, to ``(time_step, policy_state)``.
        metadata: Variables by name that are saved with the policy.

    Raises:
        TypeError: If the policy is not a TFPolicy, or ``metadata`` is not a dict of variables.
        ValueError: If the batch size is not a positive int, the train step is not a variable, a key of a spec is
            neither a string nor an integer, or names of specs are missing or not unique although
            ``use_nest_path_signatures`` is False.
    """

    def __init__(
        self,
        policy: TFPolicy,
        batch_size: int | None = None,
        use_nest_path_signatures: bool = True,
        seed: int | None = None,
        train_step: tf.Variable | None = None,
        input_fn_and_spec: tuple[Callable[[Any], tuple[TimeStep, Any]], Any] | None = None,
        metadata: dict[str, tf.Variable] | None = None,
    ) -> None:
        if not isinstance(policy, TFPolicy):
            raise TypeError(f"policy must be a TFPolicy, not {type(policy).__name__}")
        if batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
        ):
            raise ValueError(f"batch_size must be None or an int above 0, not {batch_size!r}")
        self._raw_policy = policy
        specs = (policy.collect_data_spec, policy.policy_state_spec)
        self._saved_policy = StringKeysPolicy(policy) if integer_key_paths(specs) else policy
        self._train_step = _checked_train_step(train_step)
        self._metadata = _checked_metadata(metadata)

        input_fn, example_spec = input_fn_and_spec or (None, None)
        saved_policy = self._saved_policy
        inputs: tuple[Any, ...] = (saved_policy.time_step_spec, saved_policy.policy_state_spec)
        if input_fn is not None:
            inputs = (tensor_spec.from_spec(example_spec),)
        by_path = use_nest_path_signatures and not (input_fn is not None and has_names(inputs))
        self._action_input_spec = spec_names(inputs, by_path)
        self._policy_step_spec = spec_names(saved_policy.policy_step_spec, use_nest_path_signatures)
        self._policy_state_spec = spec_names(saved_policy.policy_state_spec, use_nest_path_signatures)

        self._module = tf.Module()
        # This is a list, since a SavedModel would drop an empty tuple.
        self._module.model_variables = list(policy.variables())
        self._module.train_step = self._train_step
        self._module.metadata = self._metadata
        self._parts = ["model_variables", "train_step", "metadata"]
        with quiet_about_names():
            self._functions = SavedFunctions(saved_policy, self._action_input_spec, batch_size, seed, input_fn)
            self._add_functions()
        self._signatures = self._make_signatures(batch_size)

    @property
    def action_input_spec(self) -> Any:
        """Specs of the saved ``action``'s inputs, without batch dimension: ``(time_step_spec, policy_state_spec)``."""
        return self._action_input_spec

    @property
    def policy_step_spec(self) -> PolicyStep:
        """Specs of what the saved ``action`` returns, without batch dimension."""
        return self._policy_step_spec

    @property
    def policy_state_spec(self) -> Any:
        """Specs of what the saved ``get_initial_state`` returns, without batch dimension."""
        return self._policy_state_spec

    @property
    def policy(self) -> tf.Module:
        """The module that is saved."""
        return self._module

    @property
    def signatures(self) -> dict[str, Any]:
        """The flat signatures by their names."""
        return self._signatures

    def get_train_step(self) -> Any:
        """Returns the present value of the train step."""
        return self._train_step.numpy()

    def get_metadata(self) -> dict[str, Any]:
        """Returns the present values of the metadata."""
        return {name: variable.numpy() for name, variable in self._metadata.items()}

    def register_function(
        self, name: str, fn: Callable[[Any], Any], input_spec: Any, outer_dims: Sequence[int | None] = (None,)
    ) -> None:
        """Saves a function with the policy.

        Args:
            name: The function's name on the loaded object.
            fn: A function of one nest.
            input_spec: The nest's specs.
            outer_dims: Dimensions before each spec's shape.

        Raises:
            ValueError: If the name is taken.
        """
        self._check_free(name)
        function = tf.function(fn, autograph=False)
        concrete = function.get_concrete_function(with_outer_dims(input_spec, outer_dims))
        setattr(self._module, name, function)
        self._add_part(f"{name}__variables", list(concrete.variables))

    def register_concrete_function(self, name: str, fn: Any, assets: Any = None) -> None:
        """Saves a tf.function with the policy, for all signatures that it has been traced for.

        Args:
            name: The function's name on the loaded object.
            fn: A tf.function, or one of its concrete functions.
            assets: Other objects that the function needs, such as lookup tables.

        Raises:
            ValueError: If the name is taken, or the function has not been traced.
        """
        self._check_free(name)
        # TensorFlow has no public way to ask a tf.function for its traces.
        traces = fn._list_all_concrete_functions() if hasattr(fn, "_list_all_concrete_functions") else [fn]
        if not traces:
            raise ValueError(f"function {name} has not been traced; call its get_concrete_function(...) first")
        setattr(self._module, name, fn)
        for index, concrete in enumerate(traces):
            self._add_part(f"{name}__variables_{index}", list(concrete.variables))
        if assets:
            self._add_part(f"{name}__assets", assets)

    def save(self, export_dir: str | os.PathLike[str], options: tf.saved_model.SaveOptions | None = None) -> None:
        """Writes the model with the variables' present values and the specs, either whole or not at all.

        Args:
            export_dir: Folder to write. An earlier save there is replaced.
            options: TensorFlow's options.

        Raises:
            ConfigError: If the folder holds something else.
        """
        policy = self._raw_policy
        specs = {"collect_data_spec": policy.collect_data_spec, "policy_state_spec": policy.policy_state_spec}
        details = {
            "integer_keys": integer_key_paths(specs),
            "variables": [item.path for item in policy.named_variables()],
            "distributions": self._functions.distributions,
            "draws": [
                {"offset": None if draw.offset is None else draw.offset.tolist(), "num": draw.num}
                for draw in self._functions.draws or ()
            ],
        }
        with whole_folder(export_dir, _FILES) as scratch, quiet_about_names():
            tf.saved_model.save(self._module, scratch, signatures=self._signatures, options=options)
            with tf.io.gfile.GFile(os.path.join(scratch, POLICY_SPECS_JSON), "w") as file:
                file.write(json.dumps(details, indent=2) + "\n")
            tensor_spec.to_pbtxt_file(os.path.join(scratch, POLICY_SPECS_PBTXT), with_string_keys(specs))

    def save_checkpoint(
        self, export_dir: str | os.PathLike[str], options: tf.train.CheckpointOptions | None = None
    ) -> None:
        """Writes only the variables, into ``export_dir/variables``, either all or none.

        A loaded policy reads them by ``update_from_checkpoint``. ``policy_loader.materialize_saved_model`` combines
        them with an earlier model into a new one.

        Args:
            export_dir: Folder to write. Earlier variables there are replaced.
            options: TensorFlow's options.
        """
        # TF-Agents' policies look for the child `policy`. The other children lie closer to the root and give the
        # variables the keys that they have in a SavedModel, so that its graph can read them.
        parts = {name: getattr(self._module, name) for name in self._parts}
        checkpoint = tf.train.Checkpoint(policy=self._module, **parts)
        prefix = variables_prefix(export_dir)
        folder, name = os.path.split(prefix)
        files = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
        with whole_folder(folder, [file for file in files if file.startswith(f"{name}.")]) as scratch:
            checkpoint.write(os.path.join(scratch, name), options=options)

    def _check_free(self, name: str) -> None:
        if getattr(self._module, name, None) is not None:
            raise ValueError(f"the policy already has an attribute {name!r}; give another name")

    def _add_functions(self) -> None:
        module, functions = self._module, self._functions
        module.action = functions.action
        module.get_initial_state = functions.get_initial_state
        if functions.action_from_noise is not None:
            module.action_from_noise = functions.action_from_noise
        if functions.distribution is not None:
            module.distribution = functions.distribution
        module.get_train_step = tf.function(lambda: tf.identity(self._train_step), autograph=False)
        module.get_metadata = tf.function(
            lambda: {name: tf.identity(variable) for name, variable in self._metadata.items()}, autograph=False
        )
        known = {id(variable.handle) for variable in module.model_variables}
        if any(id(resource) not in known for resource in functions.resources):
            # The policy also holds other resources, such as lookup tables. It lies one level deeper than the variables,
            # so that these are still written under `model_variables`.
            self._add_part("_policy", {"policy": self._raw_policy})

    def _add_part(self, name: str, value: Any) -> None:
        """Adds variables or other resources that are saved with the module."""
        setattr(self._module, name, value)
        self._parts.append(name)

    def _make_signatures(self, batch_size: int | None) -> dict[str, Any]:
        module, outputs = self._module, self._policy_step_spec
        inputs = self._functions.input_specs
        signatures = {
            "action": flat_signature(module.action, inputs, outputs),
            "action_with_seed": flat_signature(
                lambda *given: module.action(*given[:-1], seed=given[-1]), (*inputs, SEED_SPEC), outputs
            ),
            "get_initial_state": flat_signature(
                module.get_initial_state, (BATCH_SIZE_SPEC,) if batch_size is None else (), self._policy_state_spec
            ),
            # The output is named by its dtype, as in TF-Agents.
            "get_train_step": flat_signature(lambda: {self._train_step.dtype.name: module.get_train_step()}, (), None),
            "get_metadata": flat_signature(module.get_metadata, (), None),
        }
        if self._functions.distribution is not None:
            signatures["distribution"] = flat_signature(module.distribution, inputs, None)
        return signatures


def specs_from_collect_data_spec(loaded_policy_specs: dict[str, Any]) -> dict[str, Any]:
    """Returns a policy's specs from the content of ``policy_specs.pbtxt``, as nests of array specs.

    Args:
        loaded_policy_specs: The result of ``tensor_spec.from_pbtxt_file``.

    Returns:
        ``collect_data_spec``, ``time_step_spec``, ``action_spec``, ``policy_state_spec`` and ``info_spec``.
    """
    specs = tensor_spec.to_nest_array_spec(loaded_policy_specs)
    data = specs["collect_data_spec"]
    return {
        "collect_data_spec": data,
        "time_step_spec": TimeStep(data.step_type, data.reward, data.discount, data.observation),
        "action_spec": data.action,
        "policy_state_spec": specs["policy_state_spec"],
        "info_spec": data.policy_info,
    }


def _checked_train_step(train_step: Any) -> tf.Variable:
    if train_step is None:
        return tf.Variable(-1, trainable=False, dtype=tf.int64, name="train_step")
    if not isinstance(train_step, tf.Variable):
        raise ValueError(f"train_step must be a tf.Variable, not {type(train_step).__name__}")
    return train_step


def _checked_metadata(metadata: Any) -> dict[str, tf.Variable]:
    if not isinstance(metadata or {}, dict):
        raise TypeError(f"metadata must be a dict of tf.Variables by name, not {type(metadata).__name__}")
    for name, variable in (metadata or {}).items():
        if not isinstance(name, str):
            raise TypeError(f"metadata: names must be strings, not {name!r}")
        if not isinstance(variable, tf.Variable):
            raise TypeError(f"metadata {name!r} must be a tf.Variable, not {type(variable).__name__}")
    return dict(metadata or {})
