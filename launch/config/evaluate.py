"""The configuration of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from distpolicy.errors import ConfigError
from launch.config.common import EnvValue
from workers.collection.evaluator import MAX_EPISODE_STEPS
from workers.environments.factory import Vectorization
from workers.inference.policy_source import Inference


@dataclass(frozen=True)
class EvaluateConfig:
    """The settings of an evaluation. Environment settings that are left out are the run's."""

    episodes: int = 100
    """Number of episodes. Each has its own seed."""
    env: str | None = None
    """Gymnasium id of the environment; needed for a SavedModel. None: the run's environment."""
    env_kwargs: dict[str, EnvValue] = field(default_factory=dict)
    """Arguments of the environment, as KEY VALUE pairs or KEY=VALUE. A value may be JSON: false, [3, 4]."""
    wrappers: tuple[str, ...] = ()
    """Wrappers around each environment, the first one innermost: package.module.Class, followed by its arguments as a
    JSON object, if any."""
    vectorization: Vectorization | None = None
    """How the environments are stepped: sync, async, vector_entry_point, envpool or auto. None: as in the run. A
    vectorised form whose environments share one random generator is replaced by sync."""
    stochastic: bool = False
    """Evaluate the policy that draws its actions, as in rollouts (collect_policy), instead of the greedy one."""
    num_envs: int = 64
    """Number of environments that play at a time, at most."""
    max_episode_steps: int = MAX_EPISODE_STEPS
    """Number of steps after which an episode is ended and counted as it is."""
    step_timeout_s: float = 60.0
    """Seconds after which a step counts as hanging. With async, only that environment is replaced; otherwise the
    command ends. A constructor has as many, and 120 at least; close has 30 at least."""
    info_metrics: tuple[str, ...] | None = None
    """Names of numbers in the info of an episode's last step, such as is_success, to average. None: all numbers there,
    up to 16."""
    json: bool = False
    """Print the result as JSON, and nothing else."""
    seed: int = 0
    """Seed of the episodes."""
    inference: Inference = "auto"
    """What computes actions: LiteRT (litert) or TensorFlow (tf). auto takes litert if it can run the policy, else
    tf."""
    video: Path | None = None
    """Folder for mp4 files of the best and the worst episode. None: no videos."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"episodes must be 1 or more, but is {self.episodes}")
        for name in ("num_envs", "max_episode_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, but is {self.seed}")
