"""Serves the policy of a run, and plays episodes by asking it for actions.

    python examples/serving_client.py RUN

`distpolicy serve RUN` serves it from a shell instead; any number of clients, in any language, may then ask at once. If
that server wants a token (`--token-file FILE`), give `PolicyClient(url, token="...")`, or set DISTPOLICY_TOKEN.
"""

import sys
from pathlib import Path

import gymnasium as gym

from distpolicy.serving.client import PolicyClient
from launch.config.serve import ServeConfig
from launch.config.train import load_train_config
from launch.serving.server import PolicyServer

run = Path(sys.argv[1])
env = gym.make(load_train_config(run / "config.yaml").env)

# A free port on loopback. Another address needs a token.
with (
    PolicyServer(run, ServeConfig(port=0, replicas=1)) as server,
    PolicyClient(server.endpoint.url) as client,
):
    print(f"serving at {server.endpoint.url}, with documentation at /docs")
    for episode in range(3):
        client.reset()  # the next observation is the first of an episode
        observation, _ = env.reset(seed=episode)
        episode_return, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(client.action(observation))
            episode_return, done = episode_return + float(reward), terminated or truncated
        print(f"episode {episode}: return {episode_return:.0f}")
