"""The settings of PPO. This module needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from distpolicy.agents.agent_config import AgentConfig, RunShape
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import check_widths


@dataclass(frozen=True)
class PPOConfig(AgentConfig):
    """Settings of proximal policy optimisation (Schulman et al., 2017)."""

    kind: ClassVar[str] = "ppo"
    metrics: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "policy_loss": "Loss of the policy",
            "value_loss": "Loss of the critic",
            "entropy": "Entropy of the policy",
            "approx_kl": "KL divergence of an update",
            "clip_fraction": "Share of steps whose ratio is clipped",
            "gradient_norm": "Norm of the gradient",
            "explained_variance": "Variance that the critic explains",
            "learning_rate": "Learning rate",
            "clip_range": "Clip range",
        }
    )

    # The clipped ratio bounds what rollouts of slightly older weights can do, but does not correct for them.
    largest_policy_lag: ClassVar[int | None] = 2

    common: ClassVar[tuple[str, ...]] = ("learning_rate", "num_epochs", "num_minibatches", "discount", "entropy_weight")

    learning_rate: float = 3e-4
    """Adam's step size at the start."""
    value_units: tuple[int, ...] = (64, 64)
    """Width of each dense layer of the critic."""
    learning_rate_schedule: Literal["constant", "linear"] = "linear"
    """Schedule of the learning rate; linear lets it fall to 0 over the run's env steps."""
    clip_range: float = 0.2
    """Maximum distance of the probability ratio from 1, at the start."""
    clip_range_schedule: Literal["constant", "linear"] = "constant"
    """Schedule of the clip range; linear lets it fall to 0 over the run's env steps."""
    discount: float = 0.99
    """Gamma."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation."""
    num_epochs: int = 10
    """Number of passes over each batch."""
    num_minibatches: int = 8
    """Number of minibatches in a pass. Must divide the batch's steps, or its sequences with recurrent networks."""
    value_loss_weight: float = 0.5
    """Weight of the value loss."""
    entropy_weight: float = 0.0
    """Weight of the entropy bonus."""
    sequence_length: int | None = None
    """Number of steps of the sequences that recurrent networks are trained on; None for rollout_steps. Must divide
    rollout_steps. Gradients do not flow beyond a sequence."""
    sequence_states: Literal["stored", "recomputed"] = "stored"
    """The state at the start of a sequence: stored, from the weights that acted, or recomputed before each pass. The
    latter begins at the rollout's first state."""
    burn_in: int = 0
    """Number of steps before a sequence from which its first state is computed with the newest weights (R2D2). At most
    sequence_length. No gradients flow through them. The first sequence of a rollout keeps its stored state."""
    max_gradient_norm: float = 0.5
    """Bound of the gradient's global norm."""
    adam_epsilon: float = 1e-5
    """Adam's epsilon."""
    normalize_advantages: bool = True
    """Normalise advantages to mean 0 and deviation 1 in each minibatch."""
    normalize_observations: bool = False
    """Normalise observations by running statistics, which are part of the policy."""
    normalize_rewards: bool = False
    """Divide rewards by the running deviation of the discounted return."""

    def __post_init__(self) -> None:
        check_widths("ppo.value_units", self.value_units)
        positive = {
            "learning_rate": self.learning_rate,
            "clip_range": self.clip_range,
            "num_epochs": self.num_epochs,
            "num_minibatches": self.num_minibatches,
            "max_gradient_norm": self.max_gradient_norm,
            "adam_epsilon": self.adam_epsilon,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ConfigError(f"ppo.{name} must be above 0, but is {value}")
        if self.sequence_length is not None and self.sequence_length < 1:
            raise ConfigError(f"ppo.sequence_length must be 1 or more, but is {self.sequence_length}")
        if self.burn_in < 0 or self.burn_in > (self.sequence_length or 0):
            raise ConfigError(
                f"ppo.burn_in must be from 0 to ppo.sequence_length ({self.sequence_length}), but is {self.burn_in}"
            )
        for name, value in {"discount": self.discount, "gae_lambda": self.gae_lambda}.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"ppo.{name} must be in [0, 1], but is {value}")
        for name, value in {"value_loss_weight": self.value_loss_weight, "entropy_weight": self.entropy_weight}.items():
            if not value >= 0:
                raise ConfigError(f"ppo.{name} must be 0 or more, but is {value}")

    @property
    def reward_discount(self) -> float:
        """The discount of the running returns that rewards are normalised by."""
        return self.discount

    def check(self, shape: RunShape) -> None:
        """Checks that minibatches and sequences divide the batch.

        Raises:
            ConfigError: Says which setting to change.
        """
        length, unit, parts = 1, "steps", f"rollout_steps {shape.rollout_steps}"
        if shape.recurrent:
            length, unit = self.sequence_length or shape.rollout_steps, "sequences"
            parts = f"rollout_steps {shape.rollout_steps} / ppo.sequence_length {length}"
            if shape.rollout_steps % length:
                raise ConfigError(f"ppo.sequence_length {length} does not divide rollout_steps {shape.rollout_steps}")
        batch_size = shape.collectors * shape.envs_per_collector * shape.rollout_steps
        if (num_samples := batch_size // shape.learners // length) % self.num_minibatches:
            whose = "the batch" if shape.learners == 1 else "each learner's part"
            share = "" if shape.learners == 1 else f" / learners {shape.learners}"
            raise ConfigError(
                f"ppo.num_minibatches {self.num_minibatches} does not divide {whose} of {num_samples} {unit} "
                f"(collectors {shape.collectors} x envs_per_collector {shape.envs_per_collector} x {parts}{share})"
            )
