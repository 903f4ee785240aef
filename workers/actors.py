"""The one place where the worker classes become Ray actors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray

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
