"""The one place where the worker classes become Ray actors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray

from distpolicy.trajectories.time_step import TimeStep
from workers.collector import Collector, CollectorConfig, PolicyFactory
from workers.environment_factory import EnvironmentFactory
from workers.learner import AgentFactory, Learner

if TYPE_CHECKING:
    from workers.dataset_collector import DatasetWriterConfig

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


def start_collector(
    config: CollectorConfig, environment_factory: EnvironmentFactory, policy_factory: PolicyFactory
) -> Any:
    """A :class:`Collector` as an actor with one CPU; ``rollout`` returns two references: data and report."""
    actor = ray.remote(Collector).options(num_cpus=1, runtime_env={"env_vars": _COLLECTOR_ENVIRONMENT})
    return actor.remote(config, environment_factory, policy_factory)


def start_dataset_collector(
    config: CollectorConfig,
    environment_factory: EnvironmentFactory,
    policy_factory: PolicyFactory,
    writer_config: DatasetWriterConfig,
) -> Any:
    """A :class:`workers.dataset_collector.DatasetCollector` as an actor with one CPU."""
    # Here: training needs no pyarrow.
    from workers.dataset_collector import DatasetCollector

    actor = ray.remote(DatasetCollector).options(num_cpus=1, runtime_env={"env_vars": _COLLECTOR_ENVIRONMENT})
    return actor.remote(config, environment_factory, policy_factory, writer_config)


def start_inference_server(
    policy_factory: PolicyFactory,
    time_step_spec: TimeStep,
    action_spec: Any,
    max_rows: int,
    window_s: float,
    num_gpus: float,
) -> Any:
    """An :class:`workers.inference_server.InferenceServer` as an actor.

    It asks for no CPU: it works while the collectors wait.

    Args:
        policy_factory: Makes the policy.
        time_step_spec: Array specs of one time step.
        action_spec: Nest of array specs of one action.
        max_rows: The most rows of a batch.
        window_s: Seconds to wait for more rows.
        num_gpus: GPUs to reserve; with 0 they are hidden from it.
    """
    from workers.inference_server import InferenceServer

    environment = _COMMON if num_gpus else _COLLECTOR_ENVIRONMENT
    actor = ray.remote(InferenceServer).options(
        num_cpus=0, num_gpus=num_gpus, max_concurrency=1000, runtime_env={"env_vars": environment}
    )
    return actor.remote(policy_factory, time_step_spec, action_spec, max_rows, window_s)


def start_learner(agent_factory: AgentFactory, epoch: int, num_gpus: float) -> Any:
    """A :class:`Learner` as an actor.

    It asks for no CPU: in lock step it only works while the collectors wait, on their CPUs.

    Args:
        agent_factory: Makes the agent.
        epoch: How often the run was started.
        num_gpus: GPUs to reserve; with 0 they are hidden from it.
    """
    environment = _COMMON if num_gpus else {**_COMMON, "CUDA_VISIBLE_DEVICES": "-1"}
    actor = ray.remote(Learner).options(num_cpus=0, num_gpus=num_gpus, runtime_env={"env_vars": environment})
    return actor.remote(agent_factory, epoch)
