"""The configuration of a collect job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from distpolicy.errors import ConfigError
from launch.config.common import EnvValue, split_evenly
from workers.environments.factory import EnvironmentFactory, Vectorization


@dataclass(frozen=True)
class CollectConfig:
    """Runs a policy in many envs on many collectors, and keeps the data as Parquet."""

    env: str = "CartPole-v1"
    """Gymnasium id of the environment, module:id, or module:factory."""
    policy: str = "random"
    """random, fixed:ACTION with the action as JSON, or the folder of a SavedModel."""
    steps: int | None = None
    """Steps to collect over all env slots; --episodes in its place for whole episodes."""
    episodes: int | None = None
    """Episodes to collect over all env slots."""
    env_kwargs: dict[str, EnvValue] = field(default_factory=dict)
    """Arguments of the environment, as KEY VALUE pairs."""
    wrappers: tuple[str, ...] = ()
    """Wrappers around each env, the first innermost: package.module.Class, with arguments as a JSON object right
    after it."""
    vectorization: Vectorization = "auto"
    """How env slots are stepped: one after the other (sync), each in its own process (async), by the env's own
    vectorised form (vector_entry_point), or by EnvPool (envpool); auto takes the fastest that the env supports."""
    collectors: int = 2
    """Collectors, each a process with a CPU of its own."""
    num_envs: int = 64
    """Environments over all collectors."""
    env_groups: Literal[1, 2] = 1
    """Groups that each collector's slots are stepped in: with 2, the policy acts for one while the envs of the other
    are stepped. For envs and policies that both compute outside Python and for long (Atari and a convolutional
    network), where a CPU is free."""
    rollout_steps: int = 128
    """Steps of every slot in one call of a collector."""
    seed: int = 0
    """Seed of everything that is drawn."""
    inference: Literal["auto", "litert", "tf", "server"] = "auto"
    """What a SavedModel's actions are computed by: litert, tf, or auto, in each collector; or on a server that puts the
    rows of all collectors together."""
    server_window_ms: float = 2.0
    """Milliseconds that a server waits for the rows of more collectors."""
    server_gpus: float = 0.0
    """GPUs of the server."""
    rows_per_shard: int = 100_000
    """Steps of a Parquet file."""
    compression: Literal["zstd", "lz4", "snappy", "none"] = "zstd"
    """Compression of the Parquet files."""
    step_timeout_s: float = 60.0
    """Seconds after which a step counts as hanging. With async it is the step of one slot, and that slot is replaced;
    else it is the time from one step of a collector's slots to the next, policy call and resets included, and the
    collector is replaced: its steps that are in no file yet are collected again."""
    timeout_s: float = 600.0
    """Seconds after which a collector that has not answered counts as lost."""
    address: str | None = None
    """Address of a Ray cluster to run on, or auto for the one that runs here; None starts one for this job."""

    def __post_init__(self) -> None:
        for name in ("collectors", "num_envs", "rollout_steps", "rows_per_shard"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if self.env_groups not in (1, 2):
            raise ConfigError(f"env_groups must be 1 or 2, but is {self.env_groups}")
        if self.num_envs < (least := self.collectors * self.env_groups):
            each = "a slot" if self.env_groups == 1 else "two slots"
            raise ConfigError(f"{self.collectors} collectors need {each} each: num_envs must be {least} or more")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, but is {self.seed}")
        for name in ("server_window_ms", "server_gpus"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 or more, but is {getattr(self, name)}")
        if not self.timeout_s > 0:
            raise ConfigError(f"timeout_s must be above 0, but is {self.timeout_s}")
        if self.steps is not None and self.episodes is not None:
            raise ConfigError("--steps and --episodes exclude each other")
        for name in ("steps", "episodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")

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

    def quotas(self, total: int) -> dict[int, int]:
        """Each slot's share of a total; the first ones have one more where it does not divide."""
        return dict(enumerate(split_evenly(total, self.num_envs)))
