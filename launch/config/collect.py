"""The configuration of a collect job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distpolicy.errors import ConfigError
from distpolicy.utils.time_limits import time_limit
from launch.config.codec import from_dict, load_yaml
from launch.config.common import SERVER_WINDOW_MS, check_server, split_evenly
from launch.config.environment import EnvironmentConfig
from workers.environments.factory import EnvironmentFactory


@dataclass(frozen=True)
class CollectConfig(EnvironmentConfig):
    """Runs a policy in many environments on many collectors, and writes the data as Parquet files."""

    policy: str = "random"
    """The policy: random, fixed:ACTION with the action as JSON, or a run directory or the folder of a SavedModel."""
    steps: int | None = None
    """Number of steps to collect, over all environments together. Give either --steps or --episodes."""
    episodes: int | None = None
    """Number of whole episodes to collect, over all environments together."""
    max_episode_steps: int | None = None
    """Number of steps after which an episode is ended, as a truncation. None: episodes last as long as the environment
    makes them, and --episodes waits for their ends."""
    collectors: int = 2
    """Number of collectors. Each is a process with one CPU."""
    num_envs: int = 64
    """Number of environments, over all collectors together."""
    env_groups: Literal[1, 2] = 1
    """Number of groups that a collector splits its environments into. With 2, the policy acts for one group while the
    other group is stepped. This helps if a CPU is free, and both environment and policy compute for long outside
    Python, such as Atari with a convolutional network."""
    rollout_steps: int = 128
    """Steps of each environment in one call of a collector."""
    seed: int = 0
    """Seed of all random numbers."""
    inference: Literal["auto", "litert", "tf", "server"] = "auto"
    """What computes a SavedModel's actions: LiteRT (litert) or TensorFlow (tf) in each collector, or one server for
    all collectors (server). auto takes litert if it can run the policy, else tf."""
    server_window_ms: float = SERVER_WINDOW_MS
    """Milliseconds that the server waits for more collectors before it calls the policy. Used with --inference
    server."""
    server_gpus: float = 0.0
    """Number of GPUs of the server; a fraction shares a GPU. Used with --inference server."""
    rows_per_shard: int = 100_000
    """Number of steps after which a collector begins a new Parquet file."""
    compression: Literal["zstd", "lz4", "snappy", "none"] = "zstd"
    """Compression of the Parquet files."""
    step_timeout_s: float = 60.0
    """Seconds after which a step counts as hanging. With async, this is the time of one environment's step, and only
    that environment is replaced. Otherwise it is the time between two steps of a collector, including policy call and
    resets, and the collector is replaced: it collects the steps again that it has not written to a finished file.
    A constructor has as many, and 120 at least; close has 30 at least."""
    timeout_s: float = 600.0
    """Seconds after which a collector that has not answered counts as lost."""
    address: str | None = None
    """Address of a Ray cluster to run on, or auto for the one on this machine. None: starts Ray for this job."""

    def __post_init__(self) -> None:
        for name in ("collectors", "num_envs", "rollout_steps", "rows_per_shard"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if self.env_groups not in (1, 2):
            raise ConfigError(f"env_groups must be 1 or 2, but is {self.env_groups}")
        if self.num_envs < (least := self.collectors * self.env_groups):
            each = "one environment" if self.env_groups == 1 else "two environments"
            raise ConfigError(
                f"{self.collectors} collectors need {each} each: num_envs must be {least} or more, but is "
                f"{self.num_envs}"
            )
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, but is {self.seed}")
        check_server(self.inference == "server", self.server_window_ms, self.server_gpus)
        object.__setattr__(self, "timeout_s", time_limit("timeout_s", self.timeout_s))
        if self.steps is not None and self.episodes is not None:
            raise ConfigError("--steps and --episodes exclude each other: give one of them")
        for name in ("steps", "episodes", "max_episode_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {value}")

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
            max_episode_steps=self.max_episode_steps,
        )

    def quotas(self, total: int) -> dict[int, int]:
        """Returns each env slot's share of a total. If it does not divide evenly, the first env slots get one more."""
        return dict(enumerate(split_evenly(total, self.num_envs)))


def load_collect_config(path: Path) -> CollectConfig:
    """Returns a collect job's config from a YAML file.

    Raises:
        ConfigError: If the file cannot be read, or does not hold such a config.
    """
    values = load_yaml(path)
    if isinstance(values, dict) and {"slots", "slot_groups"} & set(values):
        raise ConfigError(
            f"{path} has settings under the names of an earlier version: rename slots to num_envs and slot_groups to "
            "env_groups there to go on with it"
        )
    return from_dict(CollectConfig, values, str(path))
