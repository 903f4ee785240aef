from __future__ import annotations

import math
from typing import Any

import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("clip_range", -0.1),
        ("num_epochs", 0),
        ("num_minibatches", 0),
        ("max_gradient_norm", 0.0),
        ("adam_epsilon", 0.0),
        ("discount", 1.1),
        ("discount", math.nan),
        ("gae_lambda", -0.1),
        ("value_loss_weight", -1.0),
        ("entropy_weight", math.nan),
    ],
)
def test_setting_that_cannot_work_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"ppo\.{name} must be .* {value}"):
        PPOConfig(**{name: value})


def test_ends_of_the_ranges_are_accepted() -> None:
    config = PPOConfig(discount=1.0, gae_lambda=0.0, value_loss_weight=0.0, entropy_weight=0.0)
    assert config.discount == 1.0
