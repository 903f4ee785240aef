"""Trains PPO with a network of its own: a residual encoder that the actor and the critic share.

python examples/own_network.py [TOTAL_STEPS]
"""

import sys
from typing import Any

import keras
import tensorflow as tf

from distpolicy import ActorDistributionNetwork, Network, PPOConfig, ValueNetwork
from distpolicy.agents.ppo.surrogate_agent import SurrogateAgent
from launch import TrainConfig, TrainingRun


class ResidualEncoder(Network):
    """Dense layers with a way around each of them.

    Args:
        input_tensor_spec: Spec of one observation, a vector.
        width: Width of each layer.
        num_blocks: Number of layers with a way around.
        name: Name of the module.
    """

    def __init__(
        self, input_tensor_spec: Any, width: int = 64, num_blocks: int = 2, name: str = "ResidualEncoder"
    ) -> None:
        super().__init__(input_tensor_spec, state_spec=(), name=name)
        self.first = keras.layers.Dense(width, "relu")
        self.blocks = [keras.layers.Dense(width, "relu") for _ in range(num_blocks)]

    def call(
        self, observation: tf.Tensor, step_type: Any = None, network_state: Any = (), training: bool = False
    ) -> tuple[tf.Tensor, Any]:
        hidden = self.first(observation)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return hidden, network_state


def make_agent(time_step_spec: Any, action_spec: Any, seed: int, options: Any) -> SurrogateAgent:
    """Builds the agent; called in the learner, and in collectors if they need TensorFlow."""
    keras.utils.set_random_seed(seed)
    encoder = ResidualEncoder(time_step_spec.observation)
    encoded = encoder.create_variables()  # the spec of its output
    actor = ActorDistributionNetwork(encoded, action_spec, fc_layer_params=())
    critic = ValueNetwork(encoded, fc_layer_params=(64,))
    config = PPOConfig(learning_rate=0.001, num_epochs=10, num_minibatches=8)
    return SurrogateAgent(
        time_step_spec, action_spec, actor, critic, config, seed, options.jit_compile, encoding_network=encoder
    )


total_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
config = TrainConfig(env="CartPole-v1", total_steps=total_steps, target_return=475.0, eval_episodes=20)
with TrainingRun(config, agent=make_agent) as run:
    totals = run.run()
    print(f"{totals.env_steps:,} env steps, mean return of the last episodes {sum(totals.recent_returns) / 100:.1f}")
