"""`distpolicy evaluate` as a user runs it: as a subprocess."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
from commands import distpolicy, environment

from distpolicy.errors import ConfigError
from launch.commands.collect import parse_collect
from launch.config.codec import dump
from launch.config.train import TrainConfig
from workers.collection.watchdog import remove_leftovers


def evaluate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return distpolicy("evaluate", *arguments, cwd=cwd)


def figure(output: str, name: str) -> float:
    """The number after a name."""
    found = re.search(rf"{name} (-?[\d.]+)", output)
    assert found, output
    return float(found[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run directory `run` as training leaves it, of CartPole-v1, and one without a policy, `young`."""
    from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
    from distpolicy.policies.actor_policy import ActorPolicy
    from distpolicy.policies.greedy_policy import GreedyPolicy
    from distpolicy.policies.policy_saver import PolicySaver
    from workers.environments.factory import EnvironmentFactory

    made = tmp_path_factory.mktemp("evaluate")
    env = EnvironmentFactory("CartPole-v1", "sync")(1)
    network = ActorDistributionNetwork(env.time_step_spec.observation, env.action_spec, fc_layer_params=(4,))
    for name in ("run", "young"):
        (made / name).mkdir()
        (made / name / "config.yaml").write_text(dump(TrainConfig()))
    policy = ActorPolicy(env.time_step_spec, env.action_spec, network)
    PolicySaver(GreedyPolicy(policy)).save(str(made / "run" / "policy"))
    shutil.copytree(made / "run", made / "both")
    PolicySaver(policy).save(str(made / "both" / "collect_policy"))
    (made / "empty").mkdir()
    return made


@pytest.mark.slow
def test_evaluate_tells_the_same_of_a_run_and_of_its_policy_and_its_videos_show_the_best_and_the_worst(
    folder: Path,
) -> None:
    first = evaluate("run", "--episodes", "20", "--video", "videos/of/run", cwd=folder)
    assert first.returncode == 0, first.stderr
    assert not first.stderr
    again = evaluate("run/policy", "--env", "CartPole-v1", "--episodes", "20", cwd=folder)
    assert again.returncode == 0, again.stderr
    told = [line for line in first.stdout.splitlines() if line.startswith(("evaluation ", "lengths: "))]
    assert told == again.stdout.splitlines()[1:]
    assert told[0].startswith("evaluation of the greedy policy: 20 episodes on fresh seeds")
    assert figure(first.stdout, "mean return") == figure(first.stdout, "lengths: mean")

    lowest, highest = figure(told[0], "min"), figure(told[0], "max")
    assert lowest < highest
    for name, total in (("best", highest), ("worst", lowest)):
        [path] = (folder / "videos" / "of" / "run").glob(f"{name}-episode-*-return-{total:g}.mp4")
        assert f"video of the {name} episode: {path.relative_to(folder)}" in first.stdout
        frames = np.stack(imageio.mimread(path, memtest=False))
        # CartPole gives 1 a step.
        assert len(frames) == total + 1
        assert frames[:, ::10, ::10].max() > 200
        assert not np.array_equal(frames[0], frames[-1])


@pytest.mark.slow
def test_other_seeds_are_other_episodes(folder: Path) -> None:
    results = [evaluate("run", "--episodes", "5", "--seed", seed, cwd=folder).stdout for seed in ("0", "1")]
    assert results[0].splitlines()[1:] != results[1].splitlines()[1:]


@pytest.mark.parametrize("name", ["random", "fixed:1"])
def test_a_policy_without_a_folder_is_evaluated_too(tmp_path: Path, name: str) -> None:
    result = evaluate(name, "--env", "CartPole-v1", "--episodes", "5", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "policy: 5 episodes" in result.stdout


@pytest.mark.slow
def test_the_result_as_json_is_all_of_the_output(folder: Path) -> None:
    result = evaluate("run", "--episodes", "3", "--num-envs", "1", "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["env"], told["kind"], told["episodes"]) == ("CartPole-v1", "greedy", 3)
    assert told["return_mean"] == np.mean(told["returns"]) == np.mean(told["lengths"])
    # A folder inside a run takes the run's environment.
    inside = evaluate("run/policy", "--episodes", "3", "--json", cwd=folder)
    assert json.loads(inside.stdout)["returns"] == told["returns"]


@pytest.mark.slow
def test_either_policy_of_a_run_can_be_evaluated(folder: Path) -> None:
    greedy, stochastic = (
        json.loads(evaluate("both", "--episodes", "5", "--json", *option, cwd=folder).stdout)
        for option in ((), ("--stochastic",))
    )
    assert (greedy["kind"], stochastic["kind"]) == ("greedy", "stochastic")
    assert (Path(greedy["policy"]).name, Path(stochastic["policy"]).name) == ("policy", "collect_policy")
    assert greedy["returns"] != stochastic["returns"]


def test_collect_takes_either_policy_of_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    options = ("--out", "data", "--steps", "10")
    for more, name in (((), "policy"), (("--stochastic",), "collect_policy")):
        parsed = parse_collect(["--policy", "both", *options, *more])
        assert parsed.config.policy == str(folder / "both" / name)
    assert parse_collect(["--policy", "both/policy", *options]).config.policy == str(folder / "both" / "policy")
    with pytest.raises(ConfigError, match="run has no policy that draws its actions"):
        parse_collect(["--policy", "run", "--stochastic", *options])
    with pytest.raises(ConfigError, match="--stochastic is for a run directory"):
        parse_collect(["--stochastic", *options])


@pytest.mark.slow
def test_an_env_that_fails_again_and_again_is_one_line_and_its_traceback_is_shown_with_debug(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "import gymnasium as gym, numpy as np\n"
        "class Failing(gym.Env):\n"
        "    observation_space, action_space = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None): return np.zeros(1, np.float32), {}\n"
        "    def step(self, action): fail_on_purpose()\n"
        "def fail_on_purpose(): raise OSError('the simulator is gone')\n"
    )
    result = evaluate("random", "--env", "failing:Failing", "--num-envs", "1", "--debug", cwd=tmp_path)
    assert result.returncode == 1
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("distpolicy: error: env failing:Failing raised OSError in step: the simulator is gone; ")
    assert "(in an evaluation) (env slot 0, step 0, seed " in line
    assert "in fail_on_purpose" in result.stderr.rpartition("In the worker:\n")[2]


def test_a_step_that_hangs_ends_the_command_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "sleepy.py").write_text(
        "import time, gymnasium as gym, numpy as np\n"
        "class Sleepy(gym.Env):\n"
        "    observation_space, action_space = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None): return np.zeros(1, np.float32), {}\n"
        "    def step(self, action): time.sleep(1e6)\n"
    )
    result = distpolicy(
        "evaluate",
        "random",
        *("--env", "sleepy:Sleepy", "--step-timeout-s", "2"),
        cwd=tmp_path,
        PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "env sleepy:Sleepy hung in step 1: it took more than 2 s (step_timeout_s)" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


ENDLESS = """
import gymnasium as gym, numpy as np
SPACES = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)
class Endless(gym.Env):
    observation_space, action_space = SPACES
    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}
    def step(self, action):
        return np.zeros(1, np.float32), 1.0, False, False, {}
class EndlessVector(gym.vector.VectorEnv):
    metadata = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}
    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = SPACES
    def reset(self, *, seed=None, options=None):
        return np.zeros((self.num_envs, 1), np.float32), {}
    def step(self, actions):
        none = np.zeros(self.num_envs, bool)
        return np.zeros((self.num_envs, 1), np.float32), np.ones(self.num_envs), none, none, {}
gym.register("Endless-v0", vector_entry_point=EndlessVector)
"""


@pytest.mark.parametrize(
    ("vectorization", "name"), [("sync", "Endless"), ("async", "Endless"), ("vector_entry_point", "Endless-v0")]
)
def test_episodes_without_an_end_are_ended_at_the_limit_and_told(tmp_path: Path, vectorization: str, name: str) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    options = ("random", "--env", f"endless:{name}", "--vectorization", vectorization, "--episodes", "5")
    options += ("--num-envs", "2", "--max-episode-steps", "12")
    result = evaluate(*options, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["num_cut"], told["lengths"], told["returns"]) == (5, [12] * 5, [12.0] * 5)
    if vectorization == "sync":
        result = evaluate(*options, cwd=tmp_path)
        assert "mean return 12.0 ± 0.0 (95 %), min 12.0, max 12.0; 5 ended at the limit of 12 steps" in result.stdout


def test_the_default_limit_of_steps_says_so_when_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    result = evaluate("random", "--env", "endless:Endless", "--episodes", "1", "--inference", "litert", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "; 1 ended at the limit of 27,000 steps" in result.stdout


HANGS = """
import gymnasium as gym, numpy as np, time
class Hangs(gym.Env):
    observation_space, action_space = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}
    num_made = 0
    def __init__(self, where, render_mode=None):
        Hangs.num_made += 1
        self.where, self.render_mode, self.has_stepped = where, render_mode, False
        self.hang(where == "second" and Hangs.num_made == 2)
        self.hang(where == "film" and render_mode)
    def hang(self, now):
        if now:
            time.sleep(120)
    def reset(self, *, seed=None, options=None):
        self.hang(self.where == "film's reset" and self.render_mode)
        return np.zeros(1, np.float32), {}
    def step(self, action):
        self.has_stepped = True
        self.hang(self.where == "film's step" and self.render_mode)
        return np.zeros(1, np.float32), 0.0, True, False, {}
    def render(self):
        return np.zeros((16, 16, 3), np.uint8)
    def close(self):
        self.hang(self.where == "close" and self.has_stepped)
"""


@pytest.mark.parametrize(
    ("where", "told", "more"),
    [
        ("second", "its constructor", ()),
        ("close", "close", ()),
        pytest.param("film", "its constructor", ("--video", "films"), marks=pytest.mark.slow),
        pytest.param("film's reset", "the first reset of its video", ("--video", "films"), marks=pytest.mark.slow),
        ("film's step", "step 1 of its video", ("--video", "films")),
    ],
)
def test_an_environment_that_hangs_beside_its_steps_is_told_in_one_line(
    tmp_path: Path, where: str, told: str, more: tuple[str, ...]
) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    # The limits are at least half a minute and more.
    code = (
        "import sys, workers.environments.deadline as limits; from launch.cli import main\n"
        "limits.START_TIMEOUT_S = limits.CLOSE_TIMEOUT_S = 1.0\n"
        "sys.exit(main())"
    )
    options = ("random", "--env", "hangs:Hangs", "--env-kwargs", f"where={where}", "--step-timeout-s", "2")
    result = subprocess.run(
        [sys.executable, "-c", code, "evaluate", *options, "--episodes", "2", *more],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=100,
    )
    hung = f"env hangs:Hangs hung in {told}: no answer within 2 s; raise step_timeout_s if it needs longer\n"
    if not more:
        assert result.returncode == 1, result.stdout + result.stderr
        assert result.stderr == f"distpolicy: error: {hung}"
        return
    # The episodes were played, and the result is not lost.
    assert result.returncode == 0, result.stdout + result.stderr
    assert "policy: 2 episodes" in result.stdout
    start = "distpolicy: warning: no video of the"
    assert result.stderr == f"{start} best episode: {hung}{start} worst episode: {hung}"
    assert not list(tmp_path.glob("films/*"))


FAILING_FILMS = """
import gymnasium as gym, numpy as np
class FailsByTheSeed(gym.Env):
    observation_space, action_space = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}
    def __init__(self, render_mode=None):
        self.render_mode = render_mode
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_count = 0
        return np.zeros(1, np.float32), {}
    def step(self, action):
        self.step_count += 1
        if self.np_random.random() < 0.05:
            raise OSError("the simulator is gone")
        return np.zeros(1, np.float32), self.np_random.normal(), self.step_count == 10, False, {}
    def render(self):
        return np.zeros((16, 16, 3), np.uint8)
class FailsInTheFilm(FailsByTheSeed):
    def step(self, action):
        if self.render_mode and self.step_count == 3:
            raise OSError("the film is torn")
        return np.zeros(1, np.float32), 1.0, super().step(action)[2], False, {}
class GrowsInTheFilm(FailsByTheSeed):
    def render(self):
        return np.zeros((16 + 2 * self.step_count, 16, 3), np.uint8)
"""


@pytest.mark.parametrize("vectorization", ["sync", pytest.param("async", marks=pytest.mark.slow)])
def test_a_video_shows_the_episode_that_was_played_again_and_not_the_one_that_failed(
    tmp_path: Path, vectorization: str
) -> None:
    (tmp_path / "films.py").write_text(FAILING_FILMS)
    options = ("--env", "films:FailsByTheSeed", "--episodes", "12", "--vectorization", vectorization, "--json")
    result = evaluate("random", *options, "--video", "films", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["num_repeated"] > 4
    for name, total in (("best", max(told["returns"])), ("worst", min(told["returns"]))):
        path = tmp_path / "films" / f"{name}-episode-{told['returns'].index(total)}-return-{total:g}.mp4"
        assert len(imageio.mimread(path)) == 11
        assert f"video of the {name} episode: {path}" in result.stderr
    assert len(list(tmp_path.glob("films/*"))) == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "FailsInTheFilm",
            [
                "no video of the best episode: env films:FailsInTheFilm raised OSError in step: the film is torn",
                "no video of the worst episode: env films:FailsInTheFilm raised OSError in step: the film is torn",
            ],
        ),
        ("GrowsInTheFilm", ["no videos: env films:GrowsInTheFilm cannot be rendered"]),
    ],
)
def test_a_video_that_fails_is_a_warning_and_costs_neither_the_result_nor_a_broken_file(
    tmp_path: Path, name: str, told: list[str]
) -> None:
    (tmp_path / "films.py").write_text(FAILING_FILMS)
    result = evaluate("random", "--env", f"films:{name}", "--episodes", "3", "--video", "films", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "policy: 3 episodes" in result.stdout
    lines = result.stderr.splitlines()
    assert len(lines) == len(told)
    for line, start in zip(lines, told, strict=True):
        assert line.startswith(f"distpolicy: warning: {start}")
    assert not list(tmp_path.glob("films/*"))


@pytest.mark.slow
def test_the_temporary_folder_of_an_evaluation_that_was_killed_is_removed_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "launch", "evaluate", "random", "--env", "endless:Endless"]
    killed = subprocess.Popen(
        [*command, "--episodes", "1", "--max-episode-steps", "1000000000"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(temporary)),
    )
    while not (found := list(temporary.glob("distpolicy-evaluate-*/stacks.txt"))):
        assert killed.poll() is None
        time.sleep(0.1)
    (folder,) = (path.parent for path in found)
    os.utime(folder, (0.0, 0.0))
    remove_leftovers(temporary)
    assert folder.is_dir(), "it is at work"
    killed.kill()
    killed.wait()
    options = ("random", "--env", "endless:Endless", "--episodes", "1", "--max-episode-steps", "3")
    result = distpolicy("evaluate", *options, cwd=tmp_path, TMPDIR=str(temporary))
    assert result.returncode == 0, result.stderr
    assert not list(temporary.glob("distpolicy-*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Missing from distpolicy evaluate: PATH"),
        (("nowhere",), "nowhere is neither a run directory nor the folder of a SavedModel: there is no such folder"),
        (("random",), "random is not a run directory, which has an environment: give --env"),
        (("young",), "young has no policy yet"),
        (("empty", "--env", "CartPole-v1"), "give random, fixed:VALUE, or the folder of a SavedModel"),
        (("run", "--env", "Nope-v0"), "unknown env 'Nope-v0'"),
        pytest.param(
            ("run", "--env", "Acrobot-v1"),
            "its observations are float32 with shape (4,), the env's are float32 with shape (6,)",
            marks=pytest.mark.slow,
        ),
        (("run", "--stochastic"), "run has no policy that draws its actions"),
        (("random", "--env", "CartPole-v1", "--stochastic"), "--stochastic is for a run directory"),
        (("run", "--episodes", "0"), "episodes must be 1 or more"),
        (("run", "--seed", "-1"), "seed must be 0 or more"),
        # Of many episodes: none of them is played before.
        (
            ("run", "--episodes", "1000000", "--video", "run/config.yaml/videos"),
            "cannot write into run/config.yaml/videos",
        ),
        (("run", "--no-such-option"), "no-such-option"),
    ],
)
def test_bad_input_to_evaluate_ends_with_one_line_and_code_2(
    folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    result = evaluate(*arguments, cwd=folder)
    assert result.returncode == 2, result.stdout + result.stderr
    assert told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
