"""sb3-contrib's RecurrentPPO on CartPole without velocities until it is solved; prints a line of JSON.

The settings are RL-Zoo's for CartPoleNoVel-v1 (ppo_lstm). The environment shows the cart's position and the pole's
angle and nothing else, as ours does; RL-Zoo's shows zeros in place of the velocities.

python benchmarks/peers/sb3_recurrent.py --seed 0
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from sb3_contrib import RecurrentPPO
from sb3_score import linear, train
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

# Nothing is learned once the schedules have ended; the mean of 100 episodes may still come up to the policy's.
MAX_STEPS = 150_000


class WithoutVelocities(gym.ObservationWrapper):
    """The cart's position and the pole's angle, float32 ``[2]``."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, gym.spaces.Box)
        self.observation_space = gym.spaces.Box(space.low[::2], space.high[::2], dtype=np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Every other value."""
        return observation[::2]


def make_model(seed: int, max_steps: int) -> RecurrentPPO:
    """The algorithm for a seed and a number of steps."""
    # make_vec_env makes a DummyVecEnv of monitored environments: returns are taken before they are normalised.
    env = make_vec_env("CartPole-v1", n_envs=8, seed=seed, wrapper_class=WithoutVelocities)
    return RecurrentPPO(
        "MlpLstmPolicy",
        VecNormalize(env, gamma=0.98),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=linear(0.001, max_steps),
        clip_range=linear(0.2, max_steps),
        policy_kwargs={
            "ortho_init": False,
            "activation_fn": nn.ReLU,
            "lstm_hidden_size": 64,
            "enable_critic_lstm": True,
            "net_arch": {"pi": [64], "vf": [64]},
        },
        seed=seed,
        device="cpu",
    )


if __name__ == "__main__":
    train(__doc__.splitlines()[0], make_model, MAX_STEPS, ("sb3-contrib", "stable-baselines3", "torch", "gymnasium"))
