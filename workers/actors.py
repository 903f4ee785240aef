"""Starts the worker classes as Ray actors. This is the only module that does."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ray

from distpolicy.agents.experience_config import ExperienceConfig
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.named_code import folder_variables
from workers.collection.collector import Collector, CollectorConfig, PolicyFactory
from workers.constructor_errors import keeping_constructor_error
from workers.environments.factory import EnvironmentFactory
from workers.learning.learner import AgentFactory, Learner
from workers.learning.replica import LearnerReplica

if TYPE_CHECKING:
    from workers.datasets.collector import DatasetWriterConfig
    from workers.inference.policy_source import Inference

# TensorFlow's messages are for its developers, and Ray would send each to the driver.
_COMMON = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}

# One thread: a collector has one CPU, and its calls are too small to divide. Ray no longer hides GPUs from actors that
# do not ask for one, and TensorFlow would take their memory.
_COLLECTOR_ENVIRONMENT = {
    **_COMMON,
    "CUDA_VISIBLE_DEVICES": "-1",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}

# Of a learner without a GPU.
_LEARNER_ENVIRONMENT = {**_COMMON, "CUDA_VISIBLE_DEVICES": "-1"}

# The resources of a collector on a cluster whose nodes have no roles.
ONE_CPU: Mapping[str, float] = MappingProxyType({"CPU": 1.0})


def _actor_class(worker: type, environment: Mapping[str, str]) -> Any:
    """Returns a worker as an actor class whose process gets these environment variables.

    They are set in the process, not by Ray's runtime environment: an actor with one of its own needs a new process,
    while Ray has started some already. The process looks for named modules where this one does.
    """
    return ray.remote(keeping_constructor_error(worker, {**environment, **folder_variables()}))


def _options(resources: Mapping[str, float]) -> dict[str, Any]:
    """Returns an actor's options: its resources under the names that Ray uses for them."""
    custom = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU")}
    return {
        "num_cpus": resources.get("CPU", 0),
        "num_gpus": resources.get("GPU", 0),
        "resources": custom,
    }


def _collector_options(resources: Mapping[str, float]) -> dict[str, Any]:
    # The places of a trial of a search are reserved. They are its own: its actors would wait for others in vain.
    if ray.util.get_current_placement_group() is not None:
        return _options(resources)
    # Spread, to use the memory and network of all nodes; it has no effect on one node.
    return {**_options(resources), "scheduling_strategy": "SPREAD"}


def actor_namespace(env: str) -> str:
    """Returns a new namespace for the names of a run's actors: the same process may have several runs.

    Args:
        env: Id of the environment, which the namespace begins with.
    """
    return f"{env}-{uuid.uuid4().hex[:6]}"


def _named(name: str, generation: int, namespace: str | None) -> dict[str, Any]:
    """Returns the options that give an actor a name, as ``ray list actors`` and the dashboard show it.

    A replacement has another name: Ray may not have given up the first one's yet.
    """
    if namespace is None:
        return {}
    return {"name": f"{name}-generation{generation}" if generation else name, "namespace": namespace}


def start_collector(
    config: CollectorConfig,
    environment_factory: EnvironmentFactory,
    policy_factory: PolicyFactory,
    resources: Mapping[str, float] = ONE_CPU,
    stacks_file: Path | None = None,
    namespace: str | None = None,
) -> Any:
    """Starts a :class:`Collector` as an actor; ``rollout`` returns two references: data and report.

    Args:
        config: As for :class:`Collector`.
        environment_factory: Likewise.
        policy_factory: Likewise.
        resources: Its resources.
        stacks_file: As for :class:`Collector`.
        namespace: The namespace of the actor's name, ``collector-0``, unique to the run; None for no name.
    """
    options = _collector_options(resources)
    if namespace is not None:
        options |= _named(f"collector-{config.index}", config.generation, namespace)
    actor = _actor_class(Collector, _COLLECTOR_ENVIRONMENT).options(**options)
    return actor.remote(config, environment_factory, policy_factory, stacks_file)


def start_dataset_collector(
    config: CollectorConfig,
    environment_factory: EnvironmentFactory,
    policy_factory: PolicyFactory,
    writer_config: DatasetWriterConfig,
    resources: Mapping[str, float] = ONE_CPU,
    namespace: str | None = None,
) -> Any:
    """Starts a :class:`workers.datasets.collector.DatasetCollector` as an actor; see :func:`start_collector`."""
    # Imported here: training does not need pyarrow.
    from workers.datasets.collector import DatasetCollector

    options = _collector_options(resources)
    if namespace is not None:
        options |= _named(f"collector-{config.index}", config.generation, namespace)
    actor = _actor_class(DatasetCollector, _COLLECTOR_ENVIRONMENT).options(**options)
    return actor.remote(config, environment_factory, policy_factory, writer_config)


def start_policy_builder(
    policy_factory: PolicyFactory, time_step_spec: TimeStep, action_spec: Any, namespace: str | None = None
) -> Any:
    """Starts a :class:`workers.inference.policy_builder.PolicyBuilder` as an actor.

    It does not reserve a CPU, since it works while the collectors wait.

    Args:
        policy_factory: Makes the policy.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        namespace: As for :func:`start_collector`; the name is ``policy-builder``.
    """
    from workers.inference.policy_builder import PolicyBuilder

    options = {**_options({}), **_named("policy-builder", 0, namespace)}
    actor = _actor_class(PolicyBuilder, _COLLECTOR_ENVIRONMENT).options(**options)
    return actor.remote(policy_factory, time_step_spec, action_spec)


def start_inference_server(
    policy_factory: PolicyFactory,
    time_step_spec: TimeStep,
    action_spec: Any,
    max_rows: int,
    window_s: float,
    resources: Mapping[str, float],
    num_versions: int = 1,
    namespace: str | None = None,
    generation: int = 0,
) -> Any:
    """Starts an :class:`workers.inference.server.InferenceServer` as an actor.

    It does not reserve a CPU, since it works while the collectors wait.

    Args:
        policy_factory: Makes the policy.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        max_rows: Maximum number of rows of a batch.
        window_s: Seconds to wait for more rows.
        resources: Its resources; GPUs are hidden from it if these do not include one.
        num_versions: Number of versions of the weights that it holds.
        namespace: As for :func:`start_collector`; the name is ``inference-server``.
        generation: Number of the servers before it, for the name.
    """
    from workers.inference.server import InferenceServer

    environment = _COMMON if resources.get("GPU") else _COLLECTOR_ENVIRONMENT
    options = {**_options(resources), **_named("inference-server", generation, namespace)}
    actor = _actor_class(InferenceServer, environment).options(max_concurrency=1000, **options)
    return actor.remote(policy_factory, time_step_spec, action_spec, max_rows, window_s, num_versions)


def start_policy_loader(
    folder: Path, inference: Inference, max_batch: int, trust_shared: bool, name: str, namespace: str
) -> Any:
    """Starts a :class:`workers.serving.loader.PolicyLoader` as an actor with a name. It does not reserve a CPU.

    Ray starts it again if its process dies, as it does with the keeper.
    """
    from workers.serving.loader import PolicyLoader

    options = {**_options({}), "name": name, "namespace": namespace, "max_restarts": -1}
    actor = _actor_class(PolicyLoader, _COLLECTOR_ENVIRONMENT).options(**options)
    return actor.remote(folder, inference, max_batch, trust_shared)


def start_policy_keeper(name: str, namespace: str) -> Any:
    """Starts a :class:`workers.serving.keeper.PolicyKeeper` as an actor with a name. It does not reserve a CPU."""
    from workers.serving.keeper import PolicyKeeper

    options = {**_options({}), "name": name, "namespace": namespace, "max_restarts": -1}
    return _actor_class(PolicyKeeper, _COLLECTOR_ENVIRONMENT).options(**options).remote()


def replica_environment(has_gpu: bool) -> dict[str, str]:
    """Returns the environment variables of a replica of a served policy."""
    return dict(_COMMON if has_gpu else _COLLECTOR_ENVIRONMENT)


def set_learner_environment() -> None:
    """Sets this process's environment variables as those of a learner without a GPU, where they are not set yet."""
    for name, value in _LEARNER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def start_learners(
    agent_factory: AgentFactory,
    generation: int,
    count: int,
    resources: Mapping[str, float],
    max_policy_lag: int = 0,
    experience: ExperienceConfig | None = None,
    seed: int = 0,
    namespace: str | None = None,
) -> list[Any]:
    """Starts the actors of a run's learner: one :class:`Learner`, or several :class:`LearnerReplica`, which must join.

    They do not reserve CPUs: they work while the collectors wait, on the collectors' CPUs.

    Args:
        agent_factory: Makes the agent; of several, from the arguments ``addresses`` and ``rank``.
        generation: The generation of the learner.
        count: Number of actors.
        resources: The resources of each; GPUs are hidden from them if these do not include one.
        max_policy_lag: As for :class:`Learner`.
        experience: As for :class:`Learner`; several learners learn on-policy.
        seed: As for :class:`Learner`.
        namespace: As for :func:`start_collector`; the names are ``learner``, or ``learner-0`` and so on.
    """
    environment = _COMMON if resources.get("GPU") else _LEARNER_ENVIRONMENT
    options = _options(resources)
    if count == 1:
        learner = _actor_class(Learner, environment).options(**options, **_named("learner", generation, namespace))
        return [learner.remote(agent_factory, generation, max_policy_lag, experience, seed)]
    replica = _actor_class(LearnerReplica, environment)
    return [
        replica.options(**options, **_named(f"learner-{rank}", generation, namespace)).remote(
            agent_factory, generation, rank, max_policy_lag
        )
        for rank in range(count)
    ]
