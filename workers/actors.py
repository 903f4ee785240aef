"""The one place where the worker classes become Ray actors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ray

from distpolicy.trajectories.time_step import TimeStep
from workers.collection.collector import Collector, CollectorConfig, PolicyFactory
from workers.constructor_errors import keeping_constructor_error
from workers.environments.factory import EnvironmentFactory
from workers.learning.learner import AgentFactory, Learner
from workers.learning.replica import LearnerReplica

if TYPE_CHECKING:
    from workers.datasets.collector import DatasetWriterConfig

# TensorFlow's messages are for its developers, and Ray would pass each on to the driver.
_COMMON = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}

# One thread: a collector owns one CPU, and its calls are too small to share. Ray no longer hides GPUs from
# actors that ask for none, and TensorFlow would take their memory.
_COLLECTOR_ENVIRONMENT = {
    **_COMMON,
    "CUDA_VISIBLE_DEVICES": "-1",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}

# What a collector asks for on a cluster whose nodes have no roles.
ONE_CPU: Mapping[str, float] = MappingProxyType({"CPU": 1.0})


def _actor_class(worker: type) -> Any:
    return ray.remote(keeping_constructor_error(worker))


def _options(resources: Mapping[str, float], environment: Mapping[str, str]) -> dict[str, Any]:
    """An actor's options: what it asks for, with Ray's names of what is no custom resource."""
    custom = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU")}
    return {
        "num_cpus": resources.get("CPU", 0),
        "num_gpus": resources.get("GPU", 0),
        "resources": custom,
        "runtime_env": {"env_vars": dict(environment)},
    }


def _collector_options(resources: Mapping[str, float]) -> dict[str, Any]:
    # Spread, so that all nodes' memory and network are used; on one node it means nothing.
    return {**_options(resources, _COLLECTOR_ENVIRONMENT), "scheduling_strategy": "SPREAD"}


def start_collector(
    config: CollectorConfig,
    environment_factory: EnvironmentFactory,
    policy_factory: PolicyFactory,
    resources: Mapping[str, float] = ONE_CPU,
    stacks_file: Path | None = None,
) -> Any:
    """A :class:`Collector` as an actor; ``rollout`` returns two references: data and report."""
    actor = _actor_class(Collector).options(**_collector_options(resources))
    return actor.remote(config, environment_factory, policy_factory, stacks_file)


def start_dataset_collector(
    config: CollectorConfig,
    environment_factory: EnvironmentFactory,
    policy_factory: PolicyFactory,
    writer_config: DatasetWriterConfig,
    resources: Mapping[str, float] = ONE_CPU,
) -> Any:
    """A :class:`workers.datasets.collector.DatasetCollector` as an actor."""
    # Here: training needs no pyarrow.
    from workers.datasets.collector import DatasetCollector

    actor = _actor_class(DatasetCollector).options(**_collector_options(resources))
    return actor.remote(config, environment_factory, policy_factory, writer_config)


def start_inference_server(
    policy_factory: PolicyFactory,
    time_step_spec: TimeStep,
    action_spec: Any,
    max_rows: int,
    window_s: float,
    resources: Mapping[str, float],
) -> Any:
    """An :class:`workers.inference.server.InferenceServer` as an actor.

    It asks for no CPU: it works while the collectors wait.

    Args:
        policy_factory: Makes the policy.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        max_rows: The most rows of a batch.
        window_s: Seconds to wait for more rows.
        resources: What it asks for; GPUs are hidden from it if there are none among them.
    """
    from workers.inference.server import InferenceServer

    environment = _COMMON if resources.get("GPU") else _COLLECTOR_ENVIRONMENT
    actor = _actor_class(InferenceServer).options(max_concurrency=1000, **_options(resources, environment))
    return actor.remote(policy_factory, time_step_spec, action_spec, max_rows, window_s)


def start_learners(
    agent_factory: AgentFactory,
    generation: int,
    count: int,
    resources: Mapping[str, float],
    max_policy_lag: int = 0,
) -> list[Any]:
    """The actors of a run's learner: a :class:`Learner`, or several :class:`LearnerReplica` that have yet to join.

    They ask for no CPU: in lock step they only work while the collectors wait, on their CPUs.

    Args:
        agent_factory: Makes the agent; of several, of the arguments ``addresses`` and ``rank``.
        generation: How often the run was started.
        count: How many.
        resources: What each asks for; GPUs are hidden from them if there are none among these.
        max_policy_lag: As of :class:`Learner`.
    """
    environment = _COMMON if resources.get("GPU") else {**_COMMON, "CUDA_VISIBLE_DEVICES": "-1"}
    options = _options(resources, environment)
    if count == 1:
        learner = _actor_class(Learner).options(**options)
        return [learner.remote(agent_factory, generation, max_policy_lag=max_policy_lag)]
    replica = _actor_class(LearnerReplica).options(**options)
    return [replica.remote(agent_factory, generation, rank, max_policy_lag) for rank in range(count)]
