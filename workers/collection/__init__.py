"""Filling rollouts: collectors, seeds, episode statistics, evaluation and video."""
