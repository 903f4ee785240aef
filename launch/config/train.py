"""The configuration of a run: frozen dataclasses, from which the command line is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from distpolicy.agents.agent_config import AgentConfig, RunShape
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from launch.config.codec import from_dict, load_yaml
from launch.config.common import EnvValue
from workers.environments.factory import EnvironmentFactory, Vectorization

# The algorithm that runs if none is named.
DEFAULT_AGENT = "ppo"


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    env: str = "CartPole-v1"
    """Gymnasium id of the environment."""
    env_kwargs: dict[str, EnvValue] = field(default_factory=dict)
    """Arguments of the environment, as KEY VALUE pairs."""
    wrappers: tuple[str, ...] = ()
    """Wrappers around each env, the first innermost: package.module.Class, with arguments as a JSON object right
    after it."""
    vectorization: Vectorization = "auto"
    """How env slots are stepped: one after the other (sync), each in its own process (async), by the env's own
    vectorised form (vector_entry_point), or by EnvPool (envpool); auto takes the own form where there is one, and sync
    else."""
    collectors: int = 2
    """Collectors, each a process with a CPU of its own; MIN:MAX on the command line sets min_collectors, too."""
    min_collectors: int | None = None
    """Collectors with which the run begins; the others join when nodes have room for them, and until then those that
    are there collect in their place. None: it begins with all."""
    learners: int = 1
    """Learners, which take the same steps, each from its part of the rollouts; must divide collectors. On a GPU each
    where there are enough, else on CPUs."""
    envs_per_collector: int = 32
    """Environments that each collector steps."""
    rollout_steps: int = 32
    """Steps of every slot between two updates."""
    total_steps: int = 1_000_000
    """Env steps after which the run ends; schedules end there, too."""
    target_return: float | None = None
    """Mean return of the last 100 episodes at which the run ends; None to run to total_steps."""
    seed: int = 0
    """Seed of everything that is drawn."""
    max_policy_lag: int = 0
    """Versions by which the policy that acted may be older than the one that learns: 0 is synchronous."""
    checkpoint_every: int = 50
    """Updates between checkpoints; there is always one at the end."""
    keep_checkpoints: int = 3
    """Newest checkpoints that are kept."""
    eval_episodes: int = 100
    """Episodes of the final evaluation, with the greedy policy on seeds of its own; 0 for none."""
    jit_compile: bool = True
    """Whether XLA compiles the learner's update."""
    mixed_precision: bool = False
    """Whether the learner's networks compute in bfloat16; what they hold and what they give stays float32."""
    compile_cache: bool = True
    """Whether the compiled update is kept in the user's cache folder for the next run."""
    step_timeout_s: float = 60.0
    """Seconds after which a step counts as hanging. With async it is the step of one slot, and that slot is replaced;
    else it is the time from one step of a collector's slots to the next, policy call and resets included, and the
    collector is replaced: its rollout is collected again."""
    timeout_s: float = 600.0
    """Seconds after which a worker that has not answered counts as lost."""
    address: str | None = None
    """Address of a Ray cluster to run on, or auto for the one that runs here; None starts one for this run."""
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
            "checkpoint_every",
            "keep_checkpoints",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        for name in ("seed", "max_policy_lag", "eval_episodes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 or more, but is {getattr(self, name)}")
        if not self.timeout_s > 0:
            raise ConfigError(f"timeout_s must be above 0, but is {self.timeout_s}")
        if not 1 <= self.least_collectors <= self.collectors:
            raise ConfigError(
                f"min_collectors must be from 1 to collectors {self.collectors}, but is {self.min_collectors}"
            )
        if self.max_policy_lag > 0:
            raise ConfigError(
                "max_policy_lag above 0 needs an off-policy correction, which no agent has yet: set it to 0"
            )
        if self.learners < 1 or self.collectors % self.learners:
            raise ConfigError(
                f"learners must be 1 or more and divide collectors {self.collectors}, but is {self.learners}"
            )
        self.agent.check(self.shape)

    @property
    def shape(self) -> RunShape:
        """The sizes that an algorithm's rules depend on."""
        return RunShape(
            self.collectors,
            self.envs_per_collector,
            self.rollout_steps,
            self.learners,
            self.max_policy_lag,
            self.network.is_recurrent,
        )

    @property
    def environment_factory(self) -> EnvironmentFactory:
        """Makes the envs."""
        return EnvironmentFactory(
            self.env,
            self.vectorization,
            self.env_kwargs,
            wrappers=self.wrappers,
            step_timeout_s=self.step_timeout_s,
        )

    @property
    def least_collectors(self) -> int:
        """Collectors with which the run begins."""
        return self.collectors if self.min_collectors is None else self.min_collectors

    def describe_collectors(self) -> str:
        """``2 collectors``, or ``2 to 8 collectors`` where some may join later."""
        least = self.least_collectors
        return f"{self.collectors if least == self.collectors else f'{least} to {self.collectors}'} collectors"

    @property
    def batch_size(self) -> int:
        """Steps of an update, over all collectors."""
        return self.collectors * self.envs_per_collector * self.rollout_steps


def load_train_config(path: Path) -> TrainConfig:
    """Returns a training run's config from a YAML file.

    Raises:
        ConfigError: If the file cannot be read, or does not hold such a config.
    """
    values = load_yaml(path)
    if isinstance(values, dict) and "agent" not in values and {"slots", "ppo"} & set(values):
        raise ConfigError(
            f"{path} was written by distpolicy before its settings got their present names (slots, ppo): this version "
            f"does not go on with such a run; its policy is still read from {path.parent / 'policy'} with --env"
        )
    return from_dict(TrainConfig, values, str(path))
