"""Stable-Baselines3's PPO on CartPole-v1 until it is solved, with RL-Zoo's settings; prints a line of JSON.

python benchmarks/peers/sb3_cartpole.py --seed 0
"""

from __future__ import annotations

from sb3_score import linear, train
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

MAX_STEPS = 300_000


def make_model(seed: int, max_steps: int) -> PPO:
    """The algorithm for a seed and a number of steps."""
    # make_vec_env makes a DummyVecEnv of monitored environments.
    return PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=8, seed=seed),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=linear(0.001, max_steps),
        clip_range=linear(0.2, max_steps),
        seed=seed,
        device="cpu",
    )


if __name__ == "__main__":
    train(__doc__.splitlines()[0], make_model, MAX_STEPS, ("stable-baselines3", "torch", "gymnasium"))
