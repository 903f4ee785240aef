"""The registry of golden cases: functions that run on TF-Agents and on distpolicy alike.

A case is written once, against a namespace of modules. The recorder gives it ``tf_agents``, the test ``distpolicy``;
that it runs on both shows that code moves by its import root.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

CASES: dict[str, Callable[[Any], Any]] = {}

_PACKAGES = {
    "agents.ddpg": ["actor_network", "critic_network", "critic_rnn_network"],
    "agents.sac": ["tanh_normal_projection_network"],
    "bandits.policies": ["mixture_policy"],
    "distributions": ["gumbel_softmax", "masked", "reparameterized_sampling", "shifted_categorical"],
    "drivers": ["driver", "dynamic_episode_driver", "dynamic_step_driver", "py_driver", "tf_driver"],
    "environments": [
        "batched_py_environment",
        "parallel_py_environment",
        "py_environment",
        "random_py_environment",
        "random_tf_environment",
        "suite_gym",
        "tf_environment",
        "tf_py_environment",
        "tf_wrappers",
        "wrappers",
    ],
    "eval": ["metric_utils"],
    "keras_layers": ["dynamic_unroll_layer", "inner_reshape", "rnn_wrapper", "squashed_outer_wrapper"],
    "metrics": ["batched_py_metric", "py_metric", "py_metrics", "tf_metric", "tf_metrics", "tf_py_metric"],
    "networks": [
        "actor_distribution_network",
        "actor_distribution_rnn_network",
        "categorical_projection_network",
        "categorical_q_network",
        "encoding_network",
        "expand_dims_layer",
        "layer_utils",
        "lstm_encoding_network",
        "mask_splitter_network",
        "nest_map",
        "network",
        "normal_projection_network",
        "q_network",
        "q_rnn_network",
        "sequential",
        "value_network",
        "value_rnn_network",
    ],
    "policies": [
        "actor_policy",
        "async_policy_saver",
        "batched_py_policy",
        "boltzmann_policy",
        "categorical_q_policy",
        "epsilon_greedy_policy",
        "fixed_policy",
        "gaussian_policy",
        "greedy_policy",
        "ou_noise_policy",
        "policy_info_updater_wrapper",
        "policy_loader",
        "policy_saver",
        "py_epsilon_greedy_policy",
        "py_policy",
        "py_tf_eager_policy",
        "q_policy",
        "random_py_policy",
        "random_tf_policy",
        "scripted_py_policy",
        "temporal_action_smoothing",
        "tf_policy",
        "tf_py_policy",
    ],
    "replay_buffers": [
        "episodic_replay_buffer",
        "py_uniform_replay_buffer",
        "replay_buffer",
        "tf_uniform_replay_buffer",
    ],
    "specs": ["array_spec", "bandit_spec_utils", "tensor_spec"],
    "train": ["actor", "interval_trigger", "learner", "triggers"],
    "train.utils": ["spec_utils", "train_utils"],
    "trajectories": ["policy_step", "time_step", "trajectory"],
    "utils": [
        "batched_observer_unbatching",
        "common",
        "composite",
        "eager_utils",
        "example_encoding",
        "nest_utils",
        "numpy_storage",
        "tensor_normalizer",
        "value_ops",
        "xla",
    ],
}

MODULES = {module: f"{package}.{module}" for package, modules in _PACKAGES.items() for module in modules}


class Namespace:
    """The modules of one library: ``namespace.time_step`` is ``<root>.trajectories.time_step``.

    Args:
        root: ``tf_agents`` or ``distpolicy``.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def __getattr__(self, name: str) -> Any:
        if name not in MODULES:
            raise AttributeError(name)
        return importlib.import_module(f"{self.root}.{MODULES[name]}")


class Raised:
    """The error that a call ended with.

    Attributes:
        classes: Names of its class and of those above it, the nearest first.
    """

    def __init__(self, classes: Iterable[str]) -> None:
        self.classes = list(classes)


def outcome(call: Callable[[], Any]) -> Any:
    """What the call returns, or :class:`Raised`."""
    try:
        return call()
    except Exception as error:
        return Raised(cls.__name__ for cls in type(error).__mro__ if issubclass(cls, Exception))


def case(name: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Registers a function from a namespace to a nest under ``name``."""

    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if name in CASES:
            raise ValueError(f"two cases are called {name!r}")
        CASES[name] = function
        return function

    return register


def cases(name: str, arguments: dict[str, tuple[Any, ...]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function of a namespace and arguments once for each entry, as ``name/key``."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for key, values in arguments.items():
            case(f"{name}/{key}")(lambda ns, values=values: function(ns, *values))
        return function

    return register
