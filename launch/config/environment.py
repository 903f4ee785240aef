"""EnvironmentConfig: the settings that say which environment is run, for training and for collecting."""

from __future__ import annotations

from dataclasses import dataclass, field

from launch.config.common import EnvValue
from workers.environments.atari import AtariConfig
from workers.environments.factory import Vectorization


@dataclass(frozen=True)
class EnvironmentConfig:
    """The environment, and how it is stepped."""

    env: str = "CartPole-v1"
    """Gymnasium id of the environment. module:id imports a module first, and module:factory calls a function."""
    env_kwargs: dict[str, EnvValue] = field(default_factory=dict)
    """Arguments of the environment, as KEY VALUE pairs or KEY=VALUE. A value may be JSON: false, [3, 4]."""
    wrappers: tuple[str, ...] = ()
    """Wrappers around each environment, the first one innermost: package.module.Class, followed by its arguments as a
    JSON object, if any."""
    vectorization: Vectorization = "auto"
    """How a collector steps its environments: one after the other (sync), each in its own process (async), by the
    environment's own vectorised form (vector_entry_point), or by EnvPool (envpool). auto takes the vectorised form if
    there is one, else sync."""
    atari: AtariConfig = field(default_factory=AtariConfig)
    """The frames of Atari games."""
