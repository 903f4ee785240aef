"""The tags of a run's figures in TensorBoard: ours, and those where users of other libraries look for them.

Stable-Baselines3 has ``rollout/ep_rew_mean``, ``time/fps`` and ``eval/mean_reward``; RLlib has
``env_runners/episode_return_mean``. A run of ours beside one of theirs is one chart then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

# Counts, which are the x axis or stand under "time".
_COUNTS = ("update", "env_steps", "gradient_steps", "episodes")

_OTHER_TAGS: Mapping[str, tuple[str, ...]] = {
    "return_mean_100": ("rollout/ep_rew_mean", "env_runners/episode_return_mean"),
    "episode_length": ("rollout/ep_len_mean", "env_runners/episode_len_mean"),
    "info/is_success": ("rollout/success_rate",),
    "epsilon": ("rollout/exploration_rate",),
    "steps_per_s": ("time/fps",),
    "env_steps": ("time/total_timesteps", "num_env_steps_sampled_lifetime"),
    "train_s": ("time/time_elapsed",),
    "update": ("time/iterations", "training_iteration"),
    "episodes": ("time/episodes",),
    "policy_loss": ("train/policy_gradient_loss",),
    "alpha": ("train/ent_coef",),
    "eval_return_mean": ("eval/mean_reward",),
    "eval_length_mean": ("eval/mean_ep_length",),
    "eval_info/is_success": ("eval/success_rate",),
}

# Figures that others have with another sign.
_CHANGED: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "entropy": ("train/entropy_loss", lambda value: -value),
}


def training_figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the figures of an update by tag: every metric as ``train/NAME``, and some under other names as well.

    Args:
        metrics: The update's metrics, as in ``metrics.csv``.
    """
    own = {f"train/{name}": value for name, value in metrics.items() if not _is_elsewhere(name)}
    trained = {name: value for name, value in metrics.items() if not name.startswith("eval_")}
    return own | _others(trained)


def evaluation_figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the figures of an evaluation by tag: each as ``evaluation/NAME``, and some under other names as well.

    Args:
        metrics: The evaluation's metrics, as in ``metrics.csv``.
    """
    return {f"evaluation/{name.removeprefix('eval_')}": value for name, value in metrics.items()} | _others(metrics)


def _is_elsewhere(name: str) -> bool:
    return name in _COUNTS or name.startswith("eval_")


def _others(metrics: Mapping[str, float]) -> dict[str, float]:
    found = {tag: metrics[name] for name, tags in _OTHER_TAGS.items() if name in metrics for tag in tags}
    for name, (tag, change) in _CHANGED.items():
        if name in metrics:
            found[tag] = change(metrics[name])
    return found
