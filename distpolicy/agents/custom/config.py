"""The settings of an agent that is not part of this package. This module needs no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from distpolicy.agents.agent_config import AgentConfig, RunShape
from distpolicy.agents.experience_config import AgentsOwn, ExperienceConfig, Replay
from distpolicy.errors import ConfigError
from distpolicy.utils.module_names import why_no_module_name

AgentValue = bool | int | float | str | list[Any] | dict[str, Any] | None


@dataclass(frozen=True)
class CustomAgentConfig(AgentConfig):
    """An agent of your own, made by a function that returns a TFAgent."""

    kind: ClassVar[str] = "custom"
    takes_action_masks: ClassVar[bool] = True

    # Only its author knows what it corrects for.
    largest_policy_lag: ClassVar[int | None] = None

    common: ClassVar[tuple[str, ...]] = ("kwargs",)

    factory: str | Callable[..., Any] = ""
    """The function, as module:function. It is called with time_step_spec and action_spec, and with networks, seed,
    options and observation_and_action_constraint_splitter if it has parameters of these names. It returns a TFAgent."""
    kwargs: dict[str, AgentValue] = field(default_factory=dict)
    """More arguments of the function, as KEY VALUE pairs."""
    replay: dict[str, AgentValue] = field(default_factory=dict)
    """Settings of a replay buffer, as KEY VALUE pairs: capacity, batch_size, num_updates, samples_per_insert, min_size,
    n_step, discount, … Agents such as DqnAgent have a replay buffer anyway, and these change its settings; another one
    learns from transitions instead of rollouts if there are any."""
    folder: str = field(default_factory=os.getcwd)
    """Folder to look for the module in, after the installed modules."""

    def __post_init__(self) -> None:
        if isinstance(self.factory, str) and not all(self.factory.partition(":")):
            raise ConfigError(f"custom.factory must be module:function, but is {self.factory!r}")
        if isinstance(self.factory, str):
            module, _, name = self.factory.partition(":")
            if reason := why_no_module_name(module, name):
                raise ConfigError(f"agent {self.factory}: {reason}")
        known = [item.name for item in fields(Replay)]
        if unknown := [name for name in self.replay if name not in known]:
            raise ConfigError(f"custom.replay has no {unknown[0]}; there are {', '.join(known)}")
        Replay(**self.replay)  # type: ignore[arg-type]  # Checks the values, before anything is started.

    @property
    def name(self) -> str:
        """The function as ``module:function``."""
        if isinstance(self.factory, str):
            return self.factory
        return f"{self.factory.__module__}:{self.factory.__qualname__}"

    def experience(self, shape: RunShape) -> ExperienceConfig:
        """Leaves it to the agent, which the function makes in the learner."""
        return AgentsOwn(self.replay, shape.rollout_steps)

    def check(self, shape: RunShape) -> None:
        """Checks that there is one learner.

        Raises:
            ConfigError: If there is more than one.
        """
        if shape.learners > 1:
            raise ConfigError(f"learners above 1 is not for {self.name}, which does not add up gradients: set it to 1")
