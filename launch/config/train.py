"""The configuration of a training run. The command line is made from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from distpolicy.agents.agent_config import AgentConfig, RunShape
from distpolicy.agents.experience_config import Offline
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.utils.time_limits import time_limit
from launch.config.codec import from_dict, load_yaml
from launch.config.common import SERVER_WINDOW_MS, check_server, counted
from launch.config.environment import EnvironmentConfig
from launch.config.interval import Interval
from workers.collection.evaluator import MAX_EPISODE_STEPS
from workers.environments.factory import EnvironmentFactory

RolloutOrder = Literal["fixed", "arrival"]
OnStale = Literal["wait", "drop"]

# The default algorithm.
DEFAULT_AGENT = "ppo"
# As many updates are under way, each with its weights, and each lag has a metric.
LARGEST_POLICY_LAG = 100


@dataclass(frozen=True)
class TrainConfig(EnvironmentConfig):
    """A training run."""

    collectors: int = 2
    """Number of collectors; MIN:MAX on the command line sets min_collectors, too. Each is a process with one CPU."""
    min_collectors: int | None = None
    """Number of collectors that the run needs to begin; None for all. The others join when nodes have room for them.
    Until then, those that are up collect in their place."""
    learners: int = 1
    """Number of learners that share each batch; must divide collectors. Each learns from its part of the rollouts, and
    all take the same steps. Each has a GPU if there are enough, else they run on CPUs."""
    envs_per_collector: int = 32
    """Number of environments of each collector."""
    dataset: tuple[str, ...] = ()
    """Folders of the data that an offline agent (bc, marwil, iql, cql) learns from, as distpolicy collect writes them.
    All of one environment."""
    rollout_steps: int = 32
    """Steps of each environment between two updates."""
    total_steps: int = 1_000_000
    """Number of env steps after which the run ends; of gradient steps with an offline agent. Schedules end there,
    too."""
    target_return: float | None = None
    """Mean return over the last 100 episodes at which the run ends; None to run to total_steps. With an
    off-policy agent, whose collectors explore by noise, an evaluation (eval_every) ends the run as well. With an
    offline agent, only an evaluation does."""
    seed: int = 0
    """Seed of all random numbers."""
    max_policy_lag: int = 0
    """Maximum number of versions by which the policy that acts is older than the one that learns. 0: collectors wait
    for the learner, and the learner for them. 1 or 2: all work at the same time. The data stay reproducible."""
    rollout_order: RolloutOrder = "fixed"
    """Which rollouts an update learns from: one of each collector, by the weights max_policy_lag versions before it
    (fixed), or those that come first, by the newest weights that were there (arrival). arrival is for collectors of
    unequal speed, and its data depend on the timing."""
    on_stale: OnStale = "wait"
    """With arrival, what becomes of a rollout that would be older than max_policy_lag: the next update waits for it
    before it is (wait), or it is dropped and counted (drop)."""
    action_mask: str | None = None
    """Key of the entry of dict observations that says which actions are allowed: a number for each one, 0 where it is
    forbidden. Policies take no forbidden action, and networks read the rest of the observation. None: all actions are
    allowed."""
    inference: Literal["collectors", "server"] = "collectors"
    """What computes actions: each collector, or one server on the learner's node for all of them. A server helps where
    policies are large, as with images, and it has a GPU or the collectors' machines are slow."""
    server_window_ms: float = SERVER_WINDOW_MS
    """Milliseconds that the server waits for more collectors before it calls the policy. Used with --inference
    server."""
    server_gpus: float = 0.0
    """Number of GPUs of the server; a fraction shares the learner's. Used with --inference server."""
    checkpoint_every: int | str = 50
    """Number of updates between two checkpoints, or a time such as 30s or 5m. There is always one at the end. Policy
    and report are written with each."""
    keep_checkpoints: int = 3
    """Number of checkpoints to keep, the newest ones."""
    eval_episodes: int = 100
    """Number of episodes of an evaluation; 0 for none. It runs the greedy policy and the one that draws its actions, on
    seeds that training does not use."""
    eval_every: int | str | None = None
    """Number of updates between two evaluations, or a time such as 30s or 5m; None for one at the end. The best policy
    of all evaluations is kept in best_policy."""
    eval_envs: int | None = None
    """Number of environments that each collector evaluates in at a time. None: as many as for rollouts."""
    eval_max_episode_steps: int = MAX_EPISODE_STEPS
    """Number of steps after which an episode of an evaluation is ended and counted as it is."""
    info_metrics: tuple[str, ...] | None = None
    """Names of numbers in the info of an episode's last step, such as is_success, to average and to show beside the
    return. None: all numbers there, up to 16."""
    jit_compile: bool = True
    """Compile the learner's update with XLA, unless it has convolutions and there is no GPU."""
    mixed_precision: bool = False
    """Compute the hidden layers of the learner's networks in bfloat16. Their variables and outputs stay float32."""
    compile_cache: bool = True
    """Keep the compiled update in the user's cache folder for the next run."""
    step_timeout_s: float = 60.0
    """Seconds after which a step counts as hanging. With async, this is the time of one environment's step, and only
    that environment is replaced. Otherwise it is the time between two steps of a collector, including policy call and
    resets, and the collector is replaced: its rollout is collected again. A constructor has as many, and 120 at least;
    close has 30 at least."""
    timeout_s: float = 600.0
    """Seconds after which a worker that has not answered counts as lost."""
    address: str | None = None
    """Address of a Ray cluster to run on, or auto for the one on this machine. None: starts Ray for this run."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The networks."""
    agent: AgentConfig = field(default_factory=lambda: AgentConfig.of_kind(DEFAULT_AGENT)())
    """The algorithm and its settings."""

    def __post_init__(self) -> None:
        at_least_one = (
            "collectors",
            "envs_per_collector",
            "rollout_steps",
            "total_steps",
            "eval_max_episode_steps",
            "keep_checkpoints",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        for name in ("seed", "max_policy_lag", "eval_episodes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 or more, but is {getattr(self, name)}")
        if self.eval_envs is not None and self.eval_envs < 1:
            raise ConfigError(f"eval_envs must be 1 or more, but is {self.eval_envs}")
        Interval.of(self.checkpoint_every, "checkpoint_every")
        if self.eval_every is not None:
            Interval.of(self.eval_every, "eval_every")
            if not self.eval_episodes:
                raise ConfigError("eval_every needs eval_episodes above 0")
        if self.target_return is not None and not math.isfinite(self.target_return):
            raise ConfigError(
                f"target_return must be a finite number, or None for no target, but is {self.target_return}"
            )
        object.__setattr__(self, "timeout_s", time_limit("timeout_s", self.timeout_s))
        check_server(self.inference == "server", self.server_window_ms, self.server_gpus)
        if not 1 <= self.least_collectors <= self.collectors:
            raise ConfigError(
                f"min_collectors must be from 1 to collectors {self.collectors}, but is {self.min_collectors}"
            )
        if self.max_policy_lag > LARGEST_POLICY_LAG:
            raise ConfigError(
                f"max_policy_lag must be at most {LARGEST_POLICY_LAG}, but is {self.max_policy_lag}: so many updates "
                "are under way, and each has its weights"
            )
        if self.on_stale != "wait" and self.rollout_order != "arrival":
            raise ConfigError(
                "on_stale is for rollout_order arrival: set that, or leave on_stale at wait. In a fixed order no "
                "rollout is too old"
            )
        largest = self.agent.largest_policy_lag
        if largest is not None and self.max_policy_lag > largest:
            raise ConfigError(
                f"max_policy_lag must be at most {largest} with the agent {self.agent.kind}, which cannot learn from "
                f"older rollouts, but is {self.max_policy_lag}"
            )
        if self.learners < 1 or self.collectors % self.learners:
            raise ConfigError(
                f"learners must be 1 or more and divide collectors {self.collectors}, but is {self.learners}"
            )
        object.__setattr__(self, "dataset", tuple(_absolute(folder) for folder in self.dataset))
        self._check_experience()
        self.agent.check_action_mask(self.action_mask)
        self.agent.check_networks(self.network)
        self.agent.check(self.shape)

    def _check_experience(self) -> None:
        """Refuses settings that mean nothing for an agent that learns from a dataset, and a dataset for another one."""
        if not self.is_offline:
            if self.dataset:
                raise ConfigError(
                    f"dataset is for agents that learn from data, and not for {self.agent.kind}: leave it out"
                )
            return
        reasons = {
            "max_policy_lag": "the data are there before the run",
            "rollout_order": "no rollouts are collected",
            "inference": "no rollouts are collected, and evaluations act by policies of their own",
        }
        unset = {"max_policy_lag": 0, "rollout_order": "fixed", "inference": "collectors"}
        for name, reason in reasons.items():
            if getattr(self, name) != unset[name]:
                raise ConfigError(f"{name} is not for {self.agent.kind}: {reason}; leave it at {unset[name]}")
        if self.target_return is not None and self.eval_every is None:
            raise ConfigError(
                f"target_return needs eval_every with {self.agent.kind}: no other episodes are played while it learns"
            )

    @property
    def is_offline(self) -> bool:
        """Whether the agent learns from a dataset alone. Collectors then serve for evaluations only."""
        return isinstance(self.agent.experience(self.shape), Offline)

    @property
    def ends_by_evaluation(self) -> bool:
        """Whether an evaluation ends the run if it reaches the target."""
        return self.is_offline or not self.agent.deploys_collect_policy

    @property
    def uses_collectors(self) -> bool:
        """Whether the run needs collectors, and so the environment."""
        return self.eval_episodes > 0 or not self.is_offline

    @property
    def shape(self) -> RunShape:
        """The sizes of the run, which an algorithm checks."""
        return RunShape(
            self.collectors,
            self.envs_per_collector,
            self.rollout_steps,
            self.learners,
            self.max_policy_lag,
            self.network.is_recurrent,
            self.dataset,
            self.mixed_precision,
        )

    @property
    def environment_factory(self) -> EnvironmentFactory:
        """The factory of the environments."""
        return EnvironmentFactory(
            self.env,
            self.vectorization,
            self.env_kwargs,
            wrappers=self.wrappers,
            atari=self.atari,
            step_timeout_s=self.step_timeout_s,
            info_metrics=self.info_metrics,
        )

    @property
    def least_collectors(self) -> int:
        """Number of collectors that the run needs to begin."""
        return self.collectors if self.min_collectors is None else self.min_collectors

    def describe_collectors(self) -> str:
        """Returns ``2 collectors``, or ``2 to 8 collectors`` if some may join later."""
        least = self.least_collectors
        if least < self.collectors:
            return f"{least} to {self.collectors} collectors"
        return counted(least, "collector")

    @property
    def batch_size(self) -> int:
        """Number of steps of an update, over all collectors."""
        return self.collectors * self.steps_per_rollout

    @property
    def steps_per_update(self) -> int:
        """The steps by which an update brings the run nearer to ``total_steps``."""
        experience = self.agent.experience(self.shape)
        return experience.num_updates if isinstance(experience, Offline) else self.batch_size

    @property
    def step_unit(self) -> str:
        """What ``total_steps`` counts: ``env steps`` or ``gradient steps``."""
        return "gradient steps" if self.is_offline else "env steps"

    def count(self, steps: int) -> str:
        """Returns a number of the steps that ``total_steps`` counts as text: ``12,800 env steps``."""
        return f"{steps:,} {self.step_unit}"

    @property
    def steps_per_rollout(self) -> int:
        """Number of steps of one collector's rollout, over its environments."""
        return self.envs_per_collector * self.rollout_steps


def _absolute(folder: str) -> str:
    if not folder:
        raise ConfigError("dataset has an empty path: give the folder of a dataset")
    return str(Path(folder).expanduser().absolute())


def load_train_config(path: Path) -> TrainConfig:
    """Returns a training run's config from a YAML file.

    Raises:
        ConfigError: If the file cannot be read, or does not hold a training run's config.
    """
    values = load_yaml(path)
    if isinstance(values, dict) and "agent" not in values and {"slots", "ppo"} & set(values):
        raise ConfigError(
            f"{path} was written by distpolicy before its settings got their present names (slots, ppo): this version "
            f"does not go on with such a run; its policy is still read from {path.parent / 'policy'} with --env"
        )
    return from_dict(TrainConfig, values, str(path))
