"""make_experience: makes an Experience from its settings."""

from __future__ import annotations

from distpolicy.agents.experience_config import ExperienceConfig, Offline, OnPolicy, Replay
from distpolicy.errors import ConfigError
from workers.experience.experience import Experience
from workers.experience.on_policy import OnPolicyExperience
from workers.experience.replay.replay_experience import ReplayExperience


def make_experience(config: ExperienceConfig) -> Experience:
    """Makes the experience of a learner.

    Args:
        config: The settings.

    Raises:
        ConfigError: If the settings are of an unknown kind, or datasets cannot be learned from.
        CheckpointError: If a dataset is missing or damaged.
    """
    if isinstance(config, OnPolicy):
        return OnPolicyExperience()
    if isinstance(config, Offline):
        # Imported here: other experience does not need pyarrow.
        from workers.experience.offline import OfflineExperience

        return OfflineExperience(config)
    if isinstance(config, Replay):
        return ReplayExperience(config)
    raise ConfigError(f"there is no experience for {type(config).__name__}")
