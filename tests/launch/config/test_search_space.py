"""What `--search` takes, what it refuses, and that drawn settings are in their ranges and fit together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.errors import ConfigError
from launch.config.search_space import SearchSpace
from launch.config.setting_names import option_texts, settings_of, with_settings
from launch.config.train import TrainConfig

SPACE = {
    "ppo.learning-rate": "loguniform 1e-4 1e-2",
    "ppo.num_epochs": "choice 4 8 16",
    "ppo.gae-lambda": "uniform 0.8 1",
    "ppo.num-minibatches": "int 1 16",
    "network.actor-units": "choice 32 64,64",
    "rollout-steps": "logint 8 128",
    "ppo.clip-range-schedule": "choice constant linear",
    "ppo.normalize-rewards": "choice true false",
}


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_drawn_and_changed_settings_are_valid_and_in_their_ranges(seed: int) -> None:
    space, random = SearchSpace(SPACE, TrainConfig()), np.random.default_rng(seed)
    drawn = space.draw(random)
    for values in (drawn, space.perturbed(drawn, random)):
        assert space.holds(values)
        config = with_settings(TrainConfig(), values)
        assert config.batch_size % config.agent.num_minibatches == 0  # type: ignore[attr-defined]
        assert settings_of(config, values) == values


def test_log_ranges_draw_every_size_alike() -> None:
    space = SearchSpace({"ppo.learning-rate": "loguniform 1e-5 1e-1"}, TrainConfig())
    random = np.random.default_rng(0)
    values = [space.draw(random)["ppo.learning-rate"] for _ in range(400)]
    counts = np.histogram(np.log10(values), bins=4, range=(-5, -1))[0]
    assert counts.min() > 70


def test_both_ends_of_a_whole_range_are_drawn_as_often_as_the_rest() -> None:
    space = SearchSpace({"ppo.num-epochs": "int 1 4"}, TrainConfig())
    random = np.random.default_rng(0)
    values = [space.draw(random)["ppo.num-epochs"] for _ in range(400)]
    assert min(values.count(value) for value in (1, 2, 3, 4)) > 70


def test_a_changed_number_is_near_and_a_changed_choice_is_the_next() -> None:
    space = SearchSpace({"ppo.learning-rate": "loguniform 1e-4 1e-2", "ppo.num-epochs": "choice 4 8 16"}, TrainConfig())
    random = np.random.default_rng(0)
    changed = [space.perturbed({"ppo.learning-rate": 1e-3, "ppo.num-epochs": 4}, random) for _ in range(400)]
    near = [item["ppo.learning-rate"] in (0.0008, 0.00125) for item in changed]
    assert 0.6 < np.mean(near) < 0.9  # One in four is drawn anew.
    assert np.mean([item["ppo.num-epochs"] == 16 for item in changed]) < 0.2


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"ppo.learning-rte": "uniform 0 1"}, "unknown setting 'ppo.learning-rte'; did you mean ppo.learning-rate?"),
        ({"dqn.n-step": "choice 1 3"}, "unknown setting 'dqn.n-step' with the agent ppo"),
        ({"seed": "int 0 4"}, "a search cannot change seed"),
        ({"ppo.learning-rate": "lognormal 1 2"}, "unknown kind 'lognormal'; did you mean loguniform?"),
        ({"ppo.learning-rate": ""}, "--search ppo.learning-rate has no values: give uniform LOW HIGH; loguniform"),
        ({"ppo.learning-rate": "uniform 1e-3"}, "is written uniform LOW HIGH, but got 1e-3"),
        ({"ppo.learning-rate": "uniform 1 0"}, "needs a lowest value and a higher one"),
        ({"ppo.learning-rate": "uniform 0 nan"}, "needs a lowest value and a higher one"),
        ({"ppo.learning-rate": "loguniform 0 1"}, "needs values above 0"),
        ({"ppo.learning-rate": "uniform -1 1"}, "has the value -1.0, which is not valid: ppo.learning_rate must be"),
        ({"ppo.num-epochs": "uniform 1 4"}, "is a whole number: write --search ppo.num-epochs int LOW HIGH"),
        ({"ppo.num-epochs": "int 1 4.5"}, "needs whole numbers"),
        ({"ppo.num-epochs": "choice 4"}, "needs two values or more"),
        ({"ppo.num-epochs": "choice"}, "needs two values or more"),
        ({"collectors": "choice two"}, "has the value two, which is not valid: settings: collectors: expected int"),
        ({"ppo.normalize-rewards": "choice maybe"}, "has the value maybe, which is not valid: settings: agent:"),
        ({"ppo.num-epochs": "choice 4 8 4"}, "choice has the value 4 twice"),
        ({"ppo.learning-rate": ""}, "--search ppo.learning-rate has no values: give uniform LOW HIGH; "),
        ({"ppo.num-epochs": "choice 4 many"}, "has the value many, which is not valid"),
        ({"ppo.num-minibatches": "choice 4 7"}, "has the value 7, which is not valid: ppo.num_minibatches 7 does not"),
        ({"network.recurrent": "uniform 0 1"}, "is not a number: write --search network.recurrent choice"),
        ({"ppo.num-epochs": "int 1 4", "ppo.num_epochs": "int 1 4"}, "is given twice"),
        (
            {"env-kwargs": 'choice {"a":1,"a":2} {}'},
            "env-kwargs choice has a value that cannot be read: the key 'a' occurs twice; leave one out",
        ),
        (
            {"network.actor-units": "choice 8 " + "[" * 100_000},
            "choice has a value that cannot be read: it is nested more than 100 deep",
        ),
    ],
)
def test_what_means_nothing_is_refused_in_a_line(search: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchSpace(search, TrainConfig())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_that_only_fits_others_that_are_searched_is_taken() -> None:
    # 3 does not divide a batch of 2 x 32 x 32 steps, but one of 2 x 33 x 32.
    space = SearchSpace({"ppo.num-minibatches": "choice 3 4", "envs-per-collector": "choice 32 33"}, TrainConfig())
    random = np.random.default_rng(0)
    pairs = {tuple(space.draw(random).values()) for _ in range(100)}
    assert pairs == {(4, 32), (3, 33), (4, 33)}


def test_names_follow_the_agent() -> None:
    config = TrainConfig(agent=AgentConfig.of_kind("dqn")(), collectors=1)
    assert list(SearchSpace({"dqn.n_step": "choice 1 3"}, config).domains) == ["dqn.n-step"]


def test_options_give_the_same_settings_on_a_command_line() -> None:
    from launch.commands.train import parse_train

    settings = SearchSpace(SPACE, TrainConfig()).draw(np.random.default_rng(3))
    words = [word for name, value in settings.items() for word in option_texts(name, value)]
    assert parse_train(words).config == with_settings(parse_train([]).config, settings)
