"""make_followers: the observers that a run has only if they are asked for."""

from __future__ import annotations

from collections.abc import Callable

from launch.config.tracking import TrackingConfig
from launch.training.observer import TrainingObserver


def make_followers(config: TrackingConfig, say: Callable[[str], None] = lambda text: None) -> list[TrainingObserver]:
    """Returns the observers that are asked for.

    Args:
        config: What is asked for.
        say: Is told lines for the user.

    Raises:
        ConfigError: If a library is not installed.
    """
    followers: list[TrainingObserver] = []
    # Imported here: most runs have none of them.
    if config.wandb is not None:
        from launch.training.trackers import WandbTracker

        followers.append(WandbTracker(config.wandb))
    if config.mlflow is not None:
        from launch.training.trackers import MlflowTracker

        followers.append(MlflowTracker(config.mlflow))
    if config.profile:
        from launch.training.profiling import RunProfile

        followers.append(RunProfile(say))
    if config.videos:
        from launch.training.filming import EpisodeVideos

        followers.append(EpisodeVideos(say))
    return followers
