"""The configuration of a run: frozen dataclasses, from which the command line is made."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from distpolicy.agents.ppo_config import PPOConfig
from distpolicy.errors import ConfigError
from workers.environment_factory import EnvironmentFactory, Vectorization

EnvValue = bool | int | float | str
Activation = Literal["tanh", "relu", "elu", "silu", "gelu"]


@dataclass(frozen=True)
class NetworkConfig:
    """The networks of actor and critic."""

    actor_units: tuple[int, ...] = (64, 64)
    """Width of each dense layer of the actor."""
    value_units: tuple[int, ...] = (64, 64)
    """Width of each dense layer of the critic."""
    recurrent: Literal["none", "lstm", "gru"] = "none"
    """Cells that actor and critic share, before their own layers; their state is carried from rollout to rollout."""
    recurrent_units: tuple[int, ...] = (64,)
    """Size of each recurrent cell; several are stacked."""
    encoder_units: tuple[int, ...] = ()
    """Width of each dense layer that actor and critic share, after the convolutions and before the recurrent cells."""
    conv_layers: tuple[tuple[int, int, int], ...] = ()
    """Filters, kernel size and stride of each convolution that actor and critic share over images; none given: 32 8 4
    64 4 2 64 3 1 (Mnih et al., 2015) for images of 36x36 or more, and smaller ones for smaller images."""
    activation: Activation = "tanh"
    """Activation of the dense layers."""
    continuous: Literal["clipped_normal", "tanh_normal"] = "clipped_normal"
    """Distribution of continuous actions: a normal whose samples are clipped to the bounds, or one squashed by tanh."""

    def __post_init__(self) -> None:
        for name in ("actor_units", "value_units", "recurrent_units", "encoder_units"):
            if any(width < 1 for width in getattr(self, name)):
                raise ConfigError(f"network.{name} must be widths of 1 or more, but is {getattr(self, name)}")
        if any(number < 1 for layer in self.conv_layers for number in layer):
            raise ConfigError(f"network.conv_layers must be numbers of 1 or more, but is {self.conv_layers}")
        if self.recurrent != "none" and not self.recurrent_units:
            raise ConfigError(f"network.recurrent {self.recurrent} needs a cell: give network.recurrent_units")


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
    slots: int = 32
    """Env slots of each collector."""
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
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The settings of PPO."""

    def __post_init__(self) -> None:
        at_least_one = ("collectors", "slots", "rollout_steps", "total_steps", "checkpoint_every", "keep_checkpoints")
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
            raise ConfigError("max_policy_lag above 0 needs an off-policy correction that PPO has not: set it to 0")
        length, unit, parts = 1, "steps", f"rollout_steps {self.rollout_steps}"
        if self.network.recurrent != "none":
            length, unit = self.ppo.sequence_length or self.rollout_steps, "sequences"
            parts = f"rollout_steps {self.rollout_steps} / ppo.sequence_length {length}"
            if self.rollout_steps % length:
                raise ConfigError(f"ppo.sequence_length {length} does not divide rollout_steps {self.rollout_steps}")
        if self.learners < 1 or self.collectors % self.learners:
            raise ConfigError(
                f"learners must be 1 or more and divide collectors {self.collectors}, but is {self.learners}"
            )
        if (num_samples := self.batch_size // self.learners // length) % self.ppo.num_minibatches:
            whose = "the batch" if self.learners == 1 else "each learner's part"
            share = "" if self.learners == 1 else f" / learners {self.learners}"
            raise ConfigError(
                f"ppo.num_minibatches {self.ppo.num_minibatches} does not divide {whose} of {num_samples} {unit} "
                f"(collectors {self.collectors} x slots {self.slots} x {parts}{share})"
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
        return self.collectors * self.slots * self.rollout_steps


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain dicts, lists and scalars."""
    return {
        item.name: to_dict(value) if dataclasses.is_dataclass(value) else _plain(value)
        for item in dataclasses.fields(config)
        for value in [getattr(config, item.name)]
    }


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def from_dict(kind: Any, values: dict[str, Any], where: str, base: Any = None) -> Any:
    """A config dataclass from plain values; what they leave out is as in ``base``, or the default.

    Args:
        kind: The dataclass.
        values: Its fields, nested dataclasses as dicts.
        where: File that they come from, for messages.
        base: A config of that kind.

    Raises:
        ConfigError: For an unknown key or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected keys and values, got {values!r}")
    hints = typing.get_type_hints(kind)
    fields = {item.name for item in dataclasses.fields(kind)}
    arguments = {} if base is None else {name: getattr(base, name) for name in fields}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(fields))}")
        if dataclasses.is_dataclass(hints[key]):
            value = from_dict(hints[key], value, f"{where}: {key}", arguments.get(key))
        else:
            value = _checked(hints[key], value, f"{where}: {key}")
        arguments[key] = value
    return kind(**arguments)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value as the hint's type: int for float, list for tuple, and no other leniency."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in options:
            return value
        raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(str, options))}")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _checked(next(option for option in options if option is not type(None)), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        if options[-1] is not Ellipsis and len(value) != len(options):
            raise ConfigError(f"{where}: expected {len(options)} values, got {value!r}")
        return tuple(_checked(options[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")


def dump(config: Any) -> str:
    """The config as YAML."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def load(path: Path) -> TrainConfig:
    """A training run's config from a YAML file.

    Raises:
        ConfigError: If the file cannot be read or holds something that is no config.
    """
    return load_as(TrainConfig, path)


def load_as(kind: Any, path: Path) -> Any:
    """A config dataclass from a YAML file.

    Raises:
        ConfigError: If the file cannot be read or holds something that is no config.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    return from_dict(kind, values, str(path))


def preset_names() -> list[str]:
    """The presets that come with the package."""
    folder = resources.files("launch") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_preset(name: str) -> TrainConfig:
    """A preset by its name.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in preset_names():
        raise ConfigError(f"unknown preset {name!r}; there are {', '.join(preset_names())}")
    text = (resources.files("launch") / "presets" / f"{name}.yaml").read_text()
    return from_dict(TrainConfig, yaml.safe_load(text), f"preset {name}")


def preset_for(env: str | None) -> str:
    """The preset that a run begins from if none is named."""
    return "cartpole-ppo" if env in (None, "CartPole-v1") else "ppo"
