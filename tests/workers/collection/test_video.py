from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import imageio.v2 as imageio
import numpy as np
import pytest
from toy_envs import StreamEnv
from toy_policies import ScriptedPolicy

from distpolicy.errors import ConfigError
from workers.collection.evaluator import Evaluator
from workers.collection.video import record_episode
from workers.environments.factory import EnvironmentFactory

BRIGHTNESS = 20


class GreyEnv(StreamEnv):
    """Its pictures are as bright as its step, in a size that is no multiple of 16."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None, picture: Any = None) -> None:
        super().__init__(terminate_after=5)
        self.render_mode, self._picture = render_mode, picture

    def render(self) -> Any:
        if self.render_mode != "rgb_array":
            raise RuntimeError("the render mode is not rgb_array")
        return self._picture or np.full((50, 38, 3), BRIGHTNESS * (1 + self._step), np.uint8)


GREY = EnvironmentFactory("test_video:GreyEnv", "sync")


def policy_for(factory: EnvironmentFactory) -> ScriptedPolicy:
    environment = factory(1)
    return ScriptedPolicy(environment.time_step_spec, environment.action_spec)


def test_a_video_shows_every_step_of_the_episode_and_its_last_observation(tmp_path: Path) -> None:
    policy = policy_for(GREY)
    result = Evaluator(GREY, policy).evaluate(6, seed=2)
    assert len(set(result.lengths)) > 1
    for episode, (total, length) in enumerate(zip(result.returns, result.lengths, strict=True)):
        path = tmp_path / "new" / f"{episode}.mp4"
        assert record_episode(GREY, policy, path, episode, seed=2) == total
        frames = np.stack(imageio.mimread(path))
        assert frames.shape == (length + 1, 50, 38, 3)
        expected = BRIGHTNESS * (1 + np.arange(length + 1))
        np.testing.assert_allclose(frames.mean((1, 2, 3)), expected, atol=6)
        assert imageio.get_reader(path).get_meta_data()["fps"] == 10


def test_an_evaluation_in_a_vectorised_env_is_played_again_the_same(tmp_path: Path) -> None:
    factory = EnvironmentFactory("CartPole-v1").with_seed_for_each_slot()
    policy = policy_for(factory)
    result = Evaluator(factory, policy).evaluate(3, seed=1)
    path = tmp_path / "video.mp4"
    assert record_episode(factory, policy, path, 2, seed=1) == result.returns[2]
    frames = imageio.mimread(path)
    assert len(frames) == result.lengths[2] + 1
    assert frames[0].max() > 200
    assert not np.array_equal(frames[0], frames[-1])


@pytest.mark.parametrize(
    ("env", "kwargs", "told"),
    [
        ("test_video:GreyEnv", {"picture": "text"}, "cannot be rendered"),
        ("toy_envs:StreamEnv", {}, "cannot be rendered"),
    ],
)
def test_an_env_that_cannot_be_rendered_is_told_in_one_line(
    tmp_path: Path, env: str, kwargs: dict[str, Any], told: str
) -> None:
    policy = policy_for(EnvironmentFactory(env, "sync", kwargs))
    with pytest.raises(ConfigError, match=told) as caught:
        record_episode(EnvironmentFactory(env, "sync", kwargs), policy, tmp_path / "video.mp4", 0, seed=0)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_video_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write") as caught:
        record_episode(GREY, policy_for(GREY), tmp_path / "file" / "video.mp4", 0, seed=0)
    assert "\n" not in str(caught.value)
