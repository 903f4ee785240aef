"""What workers build from the config."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
