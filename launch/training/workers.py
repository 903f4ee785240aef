"""The workers of a training run: its pool of collectors and its learner."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from launch.cluster.placement import COLLECTOR, LEARNER, SERVER, training_actors
from launch.config.train import TrainConfig
from launch.supervision.actor_errors import describe_hang
from launch.supervision.collector_handle import CollectorHandle
from launch.supervision.collector_pool import CollectorPool, WorkerLoss
from launch.supervision.faults import collector_name
from launch.supervision.program_note import program_note
from launch.training.factories import AgentFactory, PolicyFactory
from launch.training.learner_group import LearnerGroup
from launch.training.pipeline import PIPELINE_DEPTH
from launch.training.policy_server import PolicyServer
from launch.training.serial_workers import start_serial_collector, start_serial_learner
from workers.actors import actor_namespace, start_collector, start_inference_server, start_learners
from workers.collection.collector import CollectorConfig
from workers.collection.watchdog import RUN_PREFIX, read_hang
from workers.environments.factory import EnvironmentFactory
from workers.inference.policy_source import RemotePolicySource
from workers.inference.program_source import ProgramSource
from workers.pickled_callable import PickledCallable


class TrainingWorkers:
    """The workers of a :class:`launch.training.trainer.Trainer`. The constructor does not start them.

    Args:
        config: The run's config.
        environment_factory: Makes the environments.
        specs: Specs of the environment.
        generation: The first generation that a worker of this start may have.
        agent: The function that makes the agent, instead of the one that the config names.
        serial: Whether the workers are in this process, without Ray.

    Attributes:
        pool: The collectors.
        learners: The learner.
        learner_has_gpu: Whether the learner asks for a GPU.
        server: The inference server; None if collectors compute actions themselves.
    """

    def __init__(
        self,
        config: TrainConfig,
        environment_factory: EnvironmentFactory,
        specs: EnvironmentSpecs,
        generation: int = 0,
        agent: PickledCallable | None = None,
        serial: bool = False,
    ) -> None:
        self._config, self._newest_generation = config, generation - 1
        self._name = f"{RUN_PREFIX}{uuid.uuid4().hex}"
        # Killed collectors leave their files. All collectors are gone when this runs, at the latest when the process
        # ends.
        weakref.finalize(self, _remove_files, self._name)
        self.learner_has_gpu = False
        self.server: PolicyServer | None = None
        start = self._serially if serial else self._on_ray
        self.learners, start_collector = start(environment_factory, AgentFactory(config, specs, agent))
        self.pool = CollectorPool(
            start_collector,
            [_slots(config, index) for index in range(config.collectors if config.uses_collectors else 0)],
            self.next_generation,
            config.timeout_s,
            minimum=config.least_collectors if config.uses_collectors else 0,
            explain=self._explain,
        )

    def _on_ray(
        self, environments: EnvironmentFactory, agents: AgentFactory
    ) -> tuple[LearnerGroup, Callable[[int, int], Any]]:
        """Returns the learner, and the function that starts a collector for an index and a generation."""
        config = self._config
        namespace = actor_namespace(config.env)
        groups = {group.name: group.resources for group in training_actors(config, ray.cluster_resources())}
        self.learner_has_gpu = "GPU" in groups[LEARNER]
        # Rows of a policy call: of one collector, or of all if a server acts for them.
        collect_rows, greedy_rows = config.envs_per_collector, config.eval_envs or config.envs_per_collector
        if config.inference == "server":
            collect_rows = greedy_rows = config.collectors * max(collect_rows, greedy_rows)
        learners = LearnerGroup(
            lambda generation: start_learners(
                agents,
                generation,
                config.learners,
                groups[LEARNER],
                config.max_policy_lag,
                config.agent.experience(config.shape),
                config.seed,
                namespace,
            ),
            {"collect": (collect_rows,), "greedy": (greedy_rows,)},
        )
        in_tensorflow = PolicyFactory(config, agents.agent)

        def policies() -> Any:
            return ProgramSource((learners.policy_program("collect"),), in_tensorflow, config.timeout_s)

        if config.inference == "server":
            resources, num_servers = groups[SERVER], itertools.count()
            self.server = PolicyServer(
                lambda: start_inference_server(
                    in_tensorflow if resources.get("GPU") else policies(),
                    *agents.specs,
                    collect_rows,
                    config.server_window_ms / 1000.0,
                    resources,
                    # Those of the updates under way, and one that an evaluation still acts by.
                    config.max_policy_lag + PIPELINE_DEPTH + 2,
                    namespace,
                    next(num_servers),
                ),
                config.timeout_s,
            )
        return learners, lambda index, generation: start_collector(
            _collector_config(config, index, generation),
            environments,
            (
                policies()
                if self.server is None
                else RemotePolicySource(self.server.actor, config.timeout_s, takes_weights=True)
            ),
            groups[COLLECTOR],
            Path(self._stacks_file(index, generation)),
            namespace,
        )

    def _serially(
        self, environments: EnvironmentFactory, agents: AgentFactory
    ) -> tuple[LearnerGroup, Callable[[int, int], Any]]:
        """Returns the same as :meth:`_on_ray`, in this process."""
        config = self._config
        learners = LearnerGroup(lambda generation: start_serial_learner(agents, generation, config))
        policies = PolicyFactory(config, agents.agent)
        return learners, lambda index, generation: start_serial_collector(
            _collector_config(config, index, generation), environments, policies
        )

    @property
    def newest_generation(self) -> int:
        """The highest generation of the workers so far."""
        return self._newest_generation

    def collectors_note(self) -> str:
        """Returns why collectors need TensorFlow, and what it costs; empty if they act without it."""
        return program_note(self.learners.policy_program("collect"), self._config.timeout_s)

    def next_generation(self) -> int:
        """Returns a generation that no worker of the run has had."""
        self._newest_generation += 1
        return self._newest_generation

    def _stacks_file(self, index: int, generation: int) -> str:
        """Returns the name of the file that a collector writes its threads' stacks to if it hangs."""
        return f"{self._name}-{collector_name(index, generation)}.stacks"

    def _explain(self, handle: CollectorHandle, reason: str) -> WorkerLoss:
        # The stacks of a collector on another machine cannot be read here.
        hang = read_hang(Path(tempfile.gettempdir()) / self._stacks_file(handle.index, handle.generation))
        if hang is None:
            return WorkerLoss(reason)
        return WorkerLoss(describe_hang(hang, self._config.env, self._config.step_timeout_s), hang.stacks)


def _slots(config: TrainConfig, index: int) -> range:
    """Returns the env slots of a collector."""
    first = index * config.envs_per_collector
    return range(first, first + config.envs_per_collector)


def _remove_files(name: str) -> None:
    """Removes the files that a run's collectors have left on this machine."""
    for path in Path(tempfile.gettempdir()).glob(f"{name}-*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _collector_config(config: TrainConfig, index: int, generation: int) -> CollectorConfig:
    return CollectorConfig(
        index=index,
        first_slot=_slots(config, index).start,
        num_slots=config.envs_per_collector,
        num_steps=config.rollout_steps,
        seed=config.seed,
        generation=generation,
        reward_discount=config.agent.reward_discount,
    )
