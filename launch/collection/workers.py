"""The workers of a collect job: its pool of collectors, and an inference server if it has one."""

from __future__ import annotations

import itertools
from typing import Any

import ray

from distpolicy.trajectories.time_step import TimeStep
from launch.cluster.placement import COLLECTOR, SERVER, collecting_actors
from launch.collection.dataset import GrowingDataset
from launch.config.collect import CollectConfig
from launch.config.common import split_evenly
from launch.supervision import calls
from launch.supervision.actor_errors import describe_hang
from launch.supervision.collector_handle import CollectorHandle
from launch.supervision.collector_pool import CollectorPool, WorkerLoss
from launch.supervision.faults import RunFault, collector_name
from launch.supervision.program_note import program_note
from workers.actors import (
    actor_namespace,
    start_dataset_collector,
    start_inference_server,
    start_policy_builder,
)
from workers.collection.collector import CollectorConfig
from workers.collection.watchdog import read_hang
from workers.datasets.collector import CollectorDescription
from workers.datasets.manifest import stacks_file
from workers.environments.factory import EnvironmentFactory
from workers.inference.policy_source import PolicySource, RemotePolicySource
from workers.inference.program_source import ProgramSource
from workers.inference.server import ServerStatistics


class CollectionWorkers:
    """The workers of a job; :meth:`start` starts them.

    Args:
        config: The job's config.
        environment_factory: Makes the environments.
        dataset: The dataset that the collectors add to.
        policy: The policy that acts.
        time_step_spec: Array specs of one time step.
        action_spec: Array specs of one action.

    Attributes:
        pool: The collectors.
    """

    def __init__(
        self,
        config: CollectConfig,
        environment_factory: EnvironmentFactory,
        dataset: GrowingDataset,
        policy: PolicySource,
        time_step_spec: TimeStep,
        action_spec: Any,
    ) -> None:
        groups = collecting_actors(config, ray.cluster_resources())
        self._resources = {group.name: group.resources for group in groups}
        self._config, self._dataset = config, dataset
        self._namespace = actor_namespace(config.env)
        self._policy: PolicySource | RemotePolicySource | ProgramSource = policy
        self._builder: Any = None
        self._program: Any = None
        self._specs = time_step_spec, action_spec
        self._factory = environment_factory
        self._server: Any = None
        ends = itertools.accumulate(split_evenly(config.num_envs, config.collectors))
        self._slots = [range(first, end) for first, end in itertools.pairwise([0, *ends])]
        self.pool = CollectorPool(
            self._start_collector,
            self._slots,
            dataset.next_generation,
            config.timeout_s,
            restart_budget=self._factory.restarts,
            explain=self.explain,
        )

    def start(self) -> None:
        """Starts all actors, without waiting."""
        config = self._config
        if config.inference == "server":
            window_s = config.server_window_ms / 1000.0
            # A full batch is one group of every collector. With a larger limit, each batch would wait the whole window.
            rows = sum(-(-len(slots) // config.env_groups) for slots in self._slots)
            self._server = start_inference_server(
                self._policy, *self._specs, rows, window_s, self._resources[SERVER], namespace=self._namespace
            )
            self._policy = RemotePolicySource(self._server, config.timeout_s)
        elif isinstance(self._policy, PolicySource) and self._policy.may_be_program:
            self._builder = start_policy_builder(self._policy, *self._specs, self._namespace)
            sizes = [size for slots in self._slots for size in split_evenly(len(slots), config.env_groups)]
            self._program = self._builder.program.remote(sorted(set(sizes)))
            self._policy = ProgramSource((self._program,), self._policy, config.timeout_s)
        self.pool.start(self._dataset.next_generation())

    def begin(self) -> list[RunFault]:
        """Waits until all collectors are up.

        Returns:
            The faults of collectors that were lost meanwhile and have been replaced.
        """
        recovered = self.pool.begin()
        # What it has built stays in the object store for later collectors.
        self._end_builder()
        return recovered

    def collectors_note(self) -> str:
        """Returns why collectors need TensorFlow, and what it costs; empty if they act without it, or were asked to."""
        return program_note(self._program, self._config.timeout_s)

    def _end_builder(self) -> None:
        if self._builder is not None:
            ray.kill(self._builder)
            self._builder = None

    def describe(self) -> CollectorDescription:
        """Returns the description of a collector that is up; all are alike."""
        return calls.get(self.pool.handles[0].actor.describe.remote(), self._config.timeout_s)

    def server_statistics(self) -> ServerStatistics | None:
        """Returns the statistics of the inference server; None if there is none."""
        if self._server is None:
            return None
        return calls.get(self._server.statistics.remote(), self._config.timeout_s)

    def explain(self, handle: CollectorHandle, reason: str) -> WorkerLoss:
        """Returns the reason why a collector was lost: a hang if it has written its stacks, else Ray's reason."""
        hang = read_hang(stacks_file(self._dataset.folder, handle.name))
        if hang is not None:
            env, groups = self._factory.env_id, self._config.env_groups
            reason = describe_hang(hang, env, self._config.step_timeout_s, groups)
        place = f"seed {self._config.seed}, generation {handle.generation}"
        return WorkerLoss(f"{reason} ({place})", hang.stacks if hang is not None else "")

    def close(self) -> None:
        """Ends the actors; may be called twice."""
        self.pool.close()
        self._dataset.remove_stacks()
        self._end_builder()
        if self._server is not None:
            ray.kill(self._server)
            self._server = None

    def _start_collector(self, index: int, generation: int) -> Any:
        config, slots = self._config, self._slots[index]
        self._dataset.begin_generation(generation, slots)
        settings = CollectorConfig(
            index,
            slots.start,
            len(slots),
            config.rollout_steps,
            config.seed,
            generation=generation,
            num_groups=config.env_groups,
        )
        writer = self._dataset.writer_config(collector_name(index, generation), slots)
        resources = self._resources[COLLECTOR]
        return start_dataset_collector(settings, self._factory, self._policy, writer, resources, self._namespace)
