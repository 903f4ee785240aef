"""AgentConfig: the settings of an algorithm. Needs TensorFlow only to build an agent or its policies.

An algorithm is a folder in ``distpolicy.agents`` with a module ``config`` that defines a subclass, and a module
``builder`` that builds the agent. No other file names it: command line, YAML, metrics and report are made from
the subclass.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import distpolicy.agents
from distpolicy.agents.action_kinds import ActionKind
from distpolicy.agents.experience_config import ExperienceConfig, OnPolicy
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import is_discrete
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.utils.nests.array_nest import flatten
from distpolicy.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    from distpolicy.agents.replicas import Replicas
    from distpolicy.agents.tf_agent import TFAgent
    from distpolicy.policies.tf_policy import TFPolicy


class RunShape(NamedTuple):
    """The sizes and settings of a run that algorithms check.

    Attributes:
        collectors: Collectors of the run.
        envs_per_collector: Environments of each.
        rollout_steps: T, the steps of a rollout.
        learners: Learners that share each batch.
        max_policy_lag: Versions by which the policy that acts may be older than the one that learns.
        recurrent: Whether the policy has a state.
        dataset: Folders of the data that an offline agent learns from.
        mixed_precision: Whether networks are to compute in bfloat16.
    """

    collectors: int
    envs_per_collector: int
    rollout_steps: int
    learners: int
    max_policy_lag: int
    recurrent: bool
    dataset: tuple[str, ...] = ()
    mixed_precision: bool = False


class LearnerOptions(NamedTuple):
    """The settings of a learner that do not depend on the algorithm.

    Attributes:
        seed: Seed of all random numbers.
        jit_compile: Whether XLA compiles the update.
        mixed_precision: Whether hidden layers compute in bfloat16.
        replicas: The replicas that learn together; None for a single learner.
        action_mask: Key of the entry of observations that says which actions are allowed; None if there is none.
    """

    seed: int = 0
    jit_compile: bool = True
    mixed_precision: bool = False
    replicas: Replicas | None = None
    action_mask: str | None = None


class AgentPolicies(NamedTuple):
    """An agent's policies, which share their variables.

    Attributes:
        policy: The policy that is evaluated and deployed.
        collect_policy: The policy that acts in rollouts.
    """

    policy: TFPolicy
    collect_policy: TFPolicy


@dataclass(frozen=True)
class AgentConfig:
    """The settings of an algorithm; subclasses are frozen dataclasses with a docstring under each field.

    Attributes:
        kind: The algorithm's name in options and files, and its folder in ``distpolicy.agents``.
        metrics: What ``train`` returns beside the loss: each name, and what it tells. They are columns of metrics.csv
            and charts of the report. Empty if only the agent knows them.
        common: The settings that people use, which the short help shows.
        largest_policy_lag: The highest ``max_policy_lag`` that it learns with; None if it corrects for any.
        actions: The actions that it learns.
        takes_action_masks: Whether its policies keep to masks of actions.
        takes_network_continuous: Whether ``network.continuous`` decides by which distribution its policies draw actions
            of floats. False if they choose actions in a way of their own.
        deploys_collect_policy: Whether the collect policy is evaluated and exported as well. True if it draws from what
            the agent has learned; False if it only adds noise to explore.
    """

    kind: ClassVar[str]
    metrics: ClassVar[Mapping[str, str]] = {}
    common: ClassVar[tuple[str, ...]] = ()
    largest_policy_lag: ClassVar[int | None] = 0
    actions: ClassVar[ActionKind] = "any"
    takes_action_masks: ClassVar[bool] = False
    takes_network_continuous: ClassVar[bool] = True
    deploys_collect_policy: ClassVar[bool] = True
    # Settings that must be above 0, at least 0, and in [0, 1].
    _POSITIVE: ClassVar[tuple[str, ...]] = ()
    _NOT_NEGATIVE: ClassVar[tuple[str, ...]] = ()
    _SHARES: ClassVar[tuple[str, ...]] = ()
    # Settings that mean nothing for a discrete action, and are refused then.
    _FOR_FLOATS: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self._POSITIVE:
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in self._NOT_NEGATIVE:
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in self._SHARES:
            self._require(name, 0 <= getattr(self, name) <= 1, "in [0, 1]")

    def _require(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise ConfigError(f"{self.kind}.{name} must be {what}, but is {getattr(self, name)}")

    def check(self, shape: RunShape) -> None:
        """Checks that the algorithm supports a run of these sizes.

        Args:
            shape: The run's sizes.

        Raises:
            ConfigError: Says which setting to change.
        """

    def check_actions(self, action_spec: Any) -> None:
        """Checks that all settings mean something for these actions.

        Args:
            action_spec: Nest of the specs of one action.

        Raises:
            ConfigError: If a setting is for actions of floats, differs from its default, and an action is discrete.
        """
        for field in dataclasses.fields(self):
            is_given = field.name in self._FOR_FLOATS and getattr(self, field.name) != field.default
            if is_given and any(is_discrete(spec) for spec in flatten(action_spec)):
                raise ConfigError(f"{self.kind}.{field.name} is for actions of floats: leave it at {field.default}")

    def check_action_mask(self, action_mask: str | None) -> None:
        """Checks that the algorithm takes masks of actions, if there is one.

        Args:
            action_mask: Key of the mask in observations; None if there is none.

        Raises:
            ConfigError: Names the algorithms that do.
        """
        if action_mask is None or self.takes_action_masks:
            return
        names = ", ".join(
            name for name, other in agent_kinds().items() if other.takes_action_masks and name != "custom"
        )
        raise ConfigError(f"action_mask is not for {self.kind}, which takes no masks of actions: take one of {names}")

    def check_networks(self, networks: NetworkConfig) -> None:
        """Checks that the algorithm reads the settings of networks that differ from their defaults.

        Args:
            networks: The settings.

        Raises:
            ConfigError: Names the setting that it does not read.
        """
        default = NetworkConfig().continuous
        if networks.continuous != default and not self.takes_network_continuous:
            raise ConfigError(
                f"network.continuous is not for {self.kind}, which chooses actions in a way of its own: leave it at "
                f"{default}"
            )

    @property
    def reward_discount(self) -> float:
        """The discount of the running returns that collectors keep for reward normalisation."""
        return 0.99

    def experience(self, shape: RunShape) -> ExperienceConfig:
        """Returns the settings by which rollouts become the agent's training data."""
        return OnPolicy(shape.max_policy_lag)

    def make_agent(self, specs: EnvironmentSpecs, networks: NetworkConfig, options: LearnerOptions) -> TFAgent:
        """Builds the agent that learns, by ``make_agent`` in the module ``builder`` beside the settings.

        Raises:
            ConfigError: As for :meth:`check_actions` and :meth:`check_action_mask`.
        """
        self.check_actions(specs.action)
        self.check_action_mask(options.action_mask)
        return self._builder().make_agent(self, specs, networks, options)

    def make_policies(
        self, specs: EnvironmentSpecs, networks: NetworkConfig, seed: int, action_mask: str | None = None
    ) -> AgentPolicies:
        """Builds the policies that collectors run: those of the agent by structure; weights come later."""
        agent = self.make_agent(specs, networks, LearnerOptions(seed, jit_compile=False, action_mask=action_mask))
        return AgentPolicies(agent.policy, agent.collect_policy)

    def _builder(self) -> Any:
        # Imported by name: the builder needs TensorFlow, and these settings do not.
        return importlib.import_module(f"{type(self).__module__.rpartition('.')[0]}.builder")

    @staticmethod
    def of_kind(kind: str) -> type[AgentConfig]:
        """Returns the class of an algorithm's settings.

        Raises:
            ConfigError: If the name is unknown.
        """
        found = agent_kinds().get(kind)
        if found is None:
            names = [name for name in agent_kinds() if name != "custom"]
            meant = did_you_mean(kind, names)
            raise ConfigError(f"unknown agent {kind!r}; there are {', '.join(names)}, or give module:function{meant}")
        return found


@functools.cache
def agent_kinds() -> Mapping[str, type[AgentConfig]]:
    """Returns the settings classes of all algorithms by name, from the folders of ``distpolicy.agents``."""
    found: dict[str, type[AgentConfig]] = {}
    for folder in pkgutil.iter_modules(distpolicy.agents.__path__):
        package = f"{distpolicy.agents.__name__}.{folder.name}"
        if folder.ispkg and importlib.util.find_spec(f"{package}.config") is not None:
            module = importlib.import_module(f"{package}.config")
            for value in vars(module).values():
                if isinstance(value, type) and value.__module__ == module.__name__ and issubclass(value, AgentConfig):
                    found[value.kind] = value
    return found
