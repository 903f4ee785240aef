"""What workers build from the config."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import time_step_spec
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory

NUMBERS = BoundedArraySpec((3,), np.float32, -1.0, 1.0)
IMAGE = BoundedArraySpec((12, 12, 1), np.uint8, 0, 255)


@pytest.mark.parametrize(("observation", "compiles"), [(NUMBERS, True), (IMAGE, False), ((NUMBERS, IMAGE), False)])
def test_xla_is_left_out_where_it_is_slow(observation: object, compiles: bool) -> None:
    specs = EnvironmentSpecs(time_step_spec(observation), BoundedArraySpec((), np.int64, 0, 1))
    config = TrainConfig(
        network=NetworkConfig(actor_units=(4,)), agent=PPOConfig(value_units=(4,)), compile_cache=False
    )
    assert AgentFactory(config, specs)().jit_compile == compiles


@pytest.mark.parametrize("factory", ["PolicyFactory(config)(*specs)", "AgentFactory(config, specs)()"])
def test_graph_mode_is_refused_with_its_cause(factory: str) -> None:
    """What `import ray.rllib` before TensorFlow does to a process, without rllib's nine seconds."""
    script = (
        "import tensorflow as tf\n"
        "tf.compat.v1.disable_v2_behavior()\n"
        "from launch.config.train import TrainConfig\n"
        "from launch.training.factories import AgentFactory, PolicyFactory\n"
        "from workers.environments.factory import EnvironmentFactory\n"
        "from workers.environments.probe import probe\n"
        "config = TrainConfig(); specs = probe(EnvironmentFactory(config.env))\n"
        f"{factory}\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "DistPolicyError: TensorFlow runs in graph mode" in result.stderr
    assert "import tensorflow first" in result.stderr
