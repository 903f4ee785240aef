"""Learner: an agent that learns from rollouts and publishes weights."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np

from distpolicy.agents.agent_training import train_steps_with, train_with, zero_rollout_for
from distpolicy.agents.experience_config import AgentsOwn, ExperienceConfig, OnPolicy
from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.policies.policy_program import NeedsTensorFlow, PolicyProgram
from distpolicy.trajectories.rollout import Rollout
from distpolicy.utils.compilation.compile_cache import seal_compile_cache
from distpolicy.utils.compilation.litert_program import LiteRTError
from distpolicy.utils.memory import peak_memory_bytes
from distpolicy.utils.nests.array_nest import flatten, map_structure, paths
from distpolicy.weights import Weights, WeightsPacker
from workers.experience.experience import LEFT_OUT, Sample
from workers.experience.factory import make_experience
from workers.learning.policy_export import PolicyExporter
from workers.learning.profile import LearnerProfile

# Makes an initialised distpolicy.agents.tf_agent.TFAgent. Its type is not imported: this module is also imported in
# processes without TensorFlow.
AgentFactory = Callable[..., Any]

ProgramKind = Literal["collect", "greedy"]

# Name of the figure of ``train`` that holds the new priority of each row.
PRIORITIES = "priorities"

# Beginning of the metrics that count rows by their policy lag.
LAG_ROWS = "lag_rows/"

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _other_work(
    call: Callable[Concatenate[Learner, _Arguments], _Result],
) -> Callable[Concatenate[Learner, _Arguments], _Result]:
    """Makes a call of a learner count as its other work, and not as waiting for rollouts."""

    @functools.wraps(call)
    def counted(learner: Learner, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        start = time.perf_counter()
        try:
            return call(learner, *arguments, **named)
        finally:
            learner._other_s += time.perf_counter() - start

    return counted


class Learner:
    """Holds an agent and its experience; every update makes the next version of the weights.

    Args:
        agent_factory: Makes the agent, a :class:`distpolicy.agents.tf_agent.TFAgent`.
        generation: The generation of this learner.
        max_policy_lag: Maximum number of versions by which the weights that acted are older than the agent's.
        experience: The settings by which rollouts become samples.
        seed: The run's seed, which decides the draws of samples.
    """

    def __init__(
        self,
        agent_factory: AgentFactory,
        generation: int = 0,
        max_policy_lag: int = 0,
        experience: ExperienceConfig | None = None,
        seed: int = 0,
    ) -> None:
        self._agent = agent_factory()
        if isinstance(experience, AgentsOwn):
            experience = self._agent.experience(experience.replay, experience.rollout_steps)
        self._experience = make_experience(OnPolicy(max_policy_lag) if experience is None else experience)
        self._generation, self._max_policy_lag, self._seed = generation, max_policy_lag, seed
        self._agent.explore(0.0, has_begun=False)
        self._packer = WeightsPacker(self._agent.collect_policy)
        self._exporters: dict[str, PolicyExporter] = {}
        self._profile: LearnerProfile | None = None
        self._version = 0
        # Parts of the state that comes next.
        self._parts: dict[str, np.ndarray] = {}
        # An update that was cut off leaves it so.
        self._is_in_update = False
        # When the last update ended, and the seconds of other work since then.
        self._last_end, self._other_s = time.perf_counter(), 0.0

    @_other_work
    def weights(self) -> Weights:
        """Returns the collect policy's current weights."""
        return self._packer.pack(self._generation, self._version)

    @_other_work
    def policy_program(self, kind: ProgramKind, batch_sizes: Sequence[int]) -> PolicyProgram | NeedsTensorFlow:
        """Returns a policy as a program, which collectors run without TensorFlow.

        Args:
            kind: ``collect`` for the policy that acts in rollouts, ``greedy`` for the one that is deployed.
            batch_sizes: The sizes of the batches that it acts for.
        """
        from distpolicy.policies.program_builder import ProgramBuilder

        owner = self._agent.collect_policy
        try:
            policy = self._agent.policy if kind == "greedy" else owner
            builder = ProgramBuilder(policy, batch_sizes, kind, owner)
        except LiteRTError as error:
            return NeedsTensorFlow(str(error))
        if builder.program.parameters.computed:
            self._packer.add_parameters(kind, builder.computed_parameters)
        return builder.program

    def warm_up(self, num_slots: int, num_steps: int) -> float:
        """Compiles the update, and leaves the agent unchanged.

        Args:
            num_slots: B, the number of rows of the batches.
            num_steps: T, the number of steps of the rollouts.

        Returns:
            The seconds that it took.

        Raises:
            ConfigError: If the agent makes variables in ``train``: a checkpoint before the first update lacks them.
        """
        start = time.perf_counter()
        # Of the agent alone: a replay buffer may take most of the memory, and a sample of zeros does not change it.
        before = self._values()
        self._train(self._experience.zero_sample(zero_rollout_for(self._agent, num_slots, num_steps)), 0.0, (0,))
        seal_compile_cache()
        if late := sorted({item.path for item in self._agent.named_variables()} - set(before)):
            raise ConfigError(
                f"the agent makes the variable {late[0]} when it trains: make all of them in its constructor or in "
                "initialize(), such as an optimizer's by optimizer.build(variables)"
            )
        self._assign_values(before)
        self._last_end, self._other_s = time.perf_counter(), 0.0
        return self._last_end - start

    def update(
        self, progress: float, *rollouts: Rollout, after: Mapping[str, float] | None = None
    ) -> tuple[Weights, dict[str, float]]:
        """Learns from rollouts.

        Args:
            progress: The share of the run that is over, in [0, 1].
            rollouts: Rollouts of the same length; several may come from the same env slots, in order of time.
            after: The metrics of the update before; None if it is over. Its value is not used: Ray does not begin this
                update if that one failed, so no version is left out.

        Returns:
            The next version's weights, and the agent's metrics with ``loss``, the metrics of :func:`lag_metrics`,
            ``update_s``, ``learner_wait_s``, and ``learner_other_s`` for the work between the updates.

        Raises:
            DistPolicyError: If the losses are no longer finite, or rollouts are older than ``max_policy_lag`` allows.
        """
        start = time.perf_counter()
        other_s = self._other_s
        wait_s = max(start - self._last_end - other_s, 0.0)
        lags = self._checked_lags([rollout.weights_version[:, 1] for rollout in rollouts])
        self._is_in_update = True
        self._experience.insert(rollouts)
        # Drawn by the update's number, so that a run that goes on from a checkpoint draws the same.
        draws = (self._seed, self._version)
        found: list[dict[str, float]] = []
        for number, sample in enumerate(self._experience.due(progress, (*draws, 0))):
            found.append(self._train(sample, progress, (*draws, 1, number)))
            self._check_finite(found[-1], sample.experience)
        metrics = {name: float(np.mean([one[name] for one in found])) for name in (found[0] if found else ())}
        self._version += 1
        self._agent.explore(progress, has_begun=bool(self._agent.train_step_counter))
        weights = self.weights()
        self._is_in_update = False
        self._last_end, self._other_s = time.perf_counter(), 0.0
        timings = {"update_s": self._last_end - start, "learner_wait_s": wait_s, "learner_other_s": other_s}
        kept = self._experience.metrics()
        return weights, {**metrics, **kept, **lag_metrics(lags, self._max_policy_lag), **timings}

    def _train(self, sample: Sample, progress: float, seed: Sequence[int]) -> dict[str, float]:
        """Trains on a sample; returns the figures by name.

        Args:
            sample: The sample.
            progress: The share of the run that is over, in [0, 1].
            seed: Seed of the agent's noise.
        """
        known = {**sample.arguments, "progress": np.float32(progress)}
        if not sample.num_updates:
            info = train_with(self._agent, sample.experience, sample.weights, known)
            return {"loss": float(info.loss), **_figures(info.extra)}
        shape = sample.weights.shape
        known["progress"] = np.full(shape[0], progress, np.float32)
        if "noise" in self._agent.train_arguments:
            draws = np.random.default_rng(seed)
            known["noise"] = map_structure(
                lambda spec: draws.standard_normal((*shape, *spec.shape), np.float32), self._agent.noise_spec
            )
        info = train_steps_with(self._agent, sample.experience, sample.weights, known)
        if sample.places is not None:
            self._experience.feedback(sample, _priorities(info.extra))
        return {"loss": float(info.loss), **_figures(info.extra)}

    def _checked_lags(self, versions: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the number of versions by which each row is behind, int64 ``[B]``.

        Args:
            versions: The version that acted in each row of each rollout.

        Raises:
            DistPolicyError: If one is older than ``max_policy_lag`` allows.
        """
        if not versions:
            return np.zeros(0, np.int64)
        # A row of another generation is older than the checkpoint from which this learner continued.
        lags = self._version - np.concatenate(versions)
        if lags.max() > self._max_policy_lag:
            raise DistPolicyError(
                f"update {self._version + 1} got a rollout that is {lags.max()} versions old; max_policy_lag allows "
                f"{self._max_policy_lag}"
            )
        return lags

    def _check_finite(self, metrics: Mapping[str, float], experience: Any) -> None:
        diverged = [name for name, value in metrics.items() if not np.isfinite(value)]
        if diverged:
            advice = "lower the learning rate, or normalise observations and rewards"
            raise DistPolicyError(
                f"training diverged in update {self._version + 1}: {', '.join(diverged)} not finite; "
                f"{_beyond_float32(experience) or advice}"
            )

    @_other_work
    def state(self, kept_parts: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Returns everything that a checkpoint has to hold, by path: the agent's variables, experience, counters.

        Args:
            kept_parts: Names of parts, the first components of paths, that the caller has from an earlier state. Those
                that never change are left out, and are only named in :data:`SEGMENTS`.

        Raises:
            DistPolicyError: If an update was cut off: what it left is not a state that a run can go on from.
        """
        if self._is_in_update:
            raise DistPolicyError(f"update {self._version + 1} was cut off: the learner has no whole state")
        kept = [name.removeprefix(SEGMENT) for name in kept_parts if name.startswith(SEGMENT)]
        experience = {f"{_EXPERIENCE}{path}": value for path, value in self._experience.state().items()}
        names, segments = self._experience.segments(kept)
        if names:
            experience[SEGMENTS] = np.array([f"{SEGMENT}{name}" for name in names])
        for name, arrays in segments.items():
            experience |= {f"{SEGMENT}{name}/{path}": value for path, value in arrays.items()}
        return {**self._values(), **experience, _VERSION: np.asarray(self._version, np.int64)}

    @_other_work
    def take_part(self, part: dict[str, np.ndarray]) -> None:
        """Takes a part of the state for the next :meth:`restore`.

        So a large state need not be anywhere else as a whole.

        Args:
            part: Arrays by path. They are copied if their memory belongs to something else, such as Ray's object store.
        """
        self._parts |= {path: array if array.flags.owndata else array.copy() for path, array in part.items()}

    @_other_work
    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restores a state from :meth:`state`; the learner keeps its own generation.

        Args:
            state: The state, without the parts that it has taken.

        Raises:
            ConfigError: If it does not match this agent's variables; names the first difference. Nothing is changed
                then.
        """
        state, self._parts = {**state, **self._parts}, {}
        targets = {item.path: item.variable for item in self._agent.named_variables()}
        for path, variable in targets.items():
            if path not in state:
                raise ConfigError(
                    f"the checkpoint has no {path}: it was written with another network or other settings"
                )
            want, got = tuple(variable.shape), state[path].shape
            if want != got:
                raise ConfigError(
                    f"the checkpoint is from another architecture: {path} has shape {got} there and {want} here; "
                    "give the network settings it was trained with"
                )
        if _VERSION not in state:
            raise ConfigError(f"the checkpoint has no {_VERSION}: it was not written by a learner")
        for path in sorted(set(state) - set(targets) - {_VERSION, SEGMENTS}):
            if not path.startswith((_EXPERIENCE, SEGMENT)):
                raise ConfigError(f"the checkpoint holds {path}, which these settings have no place for")
        self._assign(state)

    def _values(self) -> dict[str, np.ndarray]:
        """Returns the agent's variables by path."""
        return {item.path: item.variable.numpy() for item in self._agent.named_variables()}

    def _assign_values(self, values: Mapping[str, np.ndarray]) -> None:
        for item in self._agent.named_variables():
            item.variable.assign(values[item.path])

    def _assign(self, state: dict[str, np.ndarray]) -> None:
        """Takes a state over, and takes the segments out of it: their memory is free as soon as they are copied."""
        self._is_in_update = False
        self._assign_values(state)
        own = {path.removeprefix(_EXPERIENCE): value for path, value in state.items() if path.startswith(_EXPERIENCE)}
        segments: dict[str, dict[str, np.ndarray]] = {}
        for name in state.get(SEGMENTS, ()):
            found = [path for path in state if path.startswith(f"{name}/")]
            segments[str(name).removeprefix(SEGMENT)] = {
                path.removeprefix(f"{name}/"): state.pop(path) for path in found
            }
        self._experience.restore(own, segments)
        self._version = int(state[_VERSION])

    @_other_work
    def export_policies(self, names: Sequence[str] = ("policy",)) -> dict[str, dict[str, bytes]]:
        """Returns policies as SavedModels: for each name, the bytes of each file by its path.

        Args:
            names: ``policy`` for the deployment policy, ``collect_policy`` for the one that acts in rollouts.
        """
        for name in names:
            if name not in self._exporters:
                self._exporters[name] = PolicyExporter(getattr(self._agent, name))
        return {name: self._exporters[name].files(self._version) for name in names}

    @_other_work
    def start_profile(self) -> None:
        """Begins a profile of this process by TensorFlow."""
        self._profile = LearnerProfile()

    @_other_work
    def stop_profile(self) -> dict[str, bytes]:
        """Ends the profile; returns its files by path. Empty if there is none, as after a new learner's start."""
        profile, self._profile = self._profile, None
        return {} if profile is None else profile.stop()

    def peak_memory_bytes(self) -> int:
        """Returns the peak resident memory of this process."""
        return peak_memory_bytes()

    def ping(self) -> int:
        """Returns the generation; answers once the agent is built."""
        return self._generation


# Paths of a state that do not belong to the agent.
_VERSION = "learner/version"
_EXPERIENCE = "experience/"
# Names of the parts of the state that hold segments of the experience; each begins with the prefix.
SEGMENTS = "learner/segments"
SEGMENT = "segment-"


def transitions_left_out(state: Mapping[str, np.ndarray]) -> int:
    """Returns how many transitions of its replay buffer a learner's state leaves out."""
    return int(state.get(f"{_EXPERIENCE}{LEFT_OUT}", 0))


def lag_metrics(lags: np.ndarray, max_policy_lag: int) -> dict[str, float]:
    """Returns ``policy_lag``, the maximum, ``policy_lag_mean``, and how many rows have each lag (``lag_rows/0``, …).

    In lock step all lags are 0, and only ``policy_lag`` is returned.

    Args:
        lags: int64 ``[B]``: the number of versions by which each row is behind the learner.
        max_policy_lag: The highest lag that is allowed.
    """
    if not max_policy_lag:
        return {"policy_lag": float(lags.max(initial=0))}
    rows = np.bincount(lags, minlength=max_policy_lag + 1)
    mean = float(lags.mean()) if lags.size else 0.0
    counts = {f"{LAG_ROWS}{lag}": float(count) for lag, count in enumerate(rows)}
    return {"policy_lag": float(lags.max(initial=0)), "policy_lag_mean": mean, **counts}


def _beyond_float32(experience: Any) -> str:
    """Returns which observation has a number that float32, and so a network, does not hold; empty for none."""
    observation = getattr(experience, "observation", ())
    for path, leaf in zip(paths(observation), flatten(observation), strict=True):
        array = np.asarray(leaf)
        if array.dtype == np.float64 and array.size and (most := np.abs(array).max()) > np.finfo(np.float32).max:
            return f"observation{path} has a number of the size {most:g}, which float32 does not hold: scale it"
    return ""


def _priorities(extra: Any) -> np.ndarray:
    """Returns the new priorities of a sample's rows from what ``train`` returns beside the loss.

    Raises:
        ConfigError: If there are none.
    """
    named = _named(extra)
    if PRIORITIES not in named:
        raise ConfigError(
            f"priority_exponent above 0 draws rows by their priorities, but the agent's train returns no {PRIORITIES} "
            "in LossInfo.extra: return float32 [B] there, such as the absolute errors, or set priority_exponent to 0"
        )
    return np.asarray(named[PRIORITIES])


def _named(extra: Any) -> Mapping[str, Any]:
    """Returns a dict or namedtuple by name; empty for anything else."""
    if hasattr(extra, "_asdict"):
        extra = extra._asdict()
    return extra if isinstance(extra, Mapping) else {}


def _figures(extra: Any) -> dict[str, float]:
    """Returns the scalars of a dict or namedtuple by name; the names of nested ones are joined by ``/``."""
    found: dict[str, float] = {}
    for name, value in _named(extra).items():
        nested = _figures(value)
        if nested:
            found |= {f"{name}/{inner}": figure for inner, figure in nested.items()}
        elif np.ndim(value) == 0 and value is not None and not isinstance(value, str | tuple):
            found[str(name)] = float(value)
    return found
