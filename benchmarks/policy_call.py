"""Microseconds a policy call, beside what the same network and draw cost without a policy around them.

In one process with one thread, as collectors have it, each of these takes its turns:

- policy: ``PyTFEagerPolicy.action`` by TensorFlow, and by LiteRT: arrays in, arrays out, a seed for each row;
- bare tf.function: the same network, draw and log-probability, compiled the same way (by XLA), on tensors that are
  already there;
- NumPy: the same arithmetic in plain NumPy;
- TF-Agents' way: the same network, with TFP's own draw and log-probability, in a tf.function without XLA.

And ``update``, beside one tf.function that assigns the same variables. Each ratio is the median over the turns of the
two figures of one turn. Goals: TensorFlow within 1.25 times the bare tf.function at every batch size; LiteRT within
twice NumPy up to a batch of 256 and 8 times as fast as the bare tf.function at 64; an update within 1.5 times the
tf.function that assigns.

    python benchmarks/policy_call.py
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

# Before TensorFlow and NumPy are imported; the same as workers/actors.py gives to collectors.
os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from reporting import met, print_header, print_table

from distpolicy import ActorPolicy, PyTFEagerPolicy
from distpolicy.distributions.draws import log_prob, sample
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts

BATCH_SIZES = (1, 32, 64, 256, 1024)
UNITS = 64
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy")
NUM_INPUTS = 4
OBSERVATION = ArraySpec((NUM_INPUTS,), np.float32)
ACTIONS = {
    "categorical": BoundedArraySpec((), np.int64, 0, 1),
    "normal": BoundedArraySpec((2,), np.float32, -1.0, 1.0),
}

Call = Callable[[], Any]


class Actor(NamedTuple):
    """What is measured.

    Attributes:
        kind: A key of ``ACTIONS``.
        recurrent: Whether an LSTM is between the dense layers and the distribution.
    """

    kind: str
    recurrent: bool

    @property
    def name(self) -> str:
        """The actor's name in tables."""
        return f"{self.kind}, LSTM" if self.recurrent else self.kind


def make_policy(actor: Actor) -> TFPolicy:
    """Two tanh layers of 64, an LSTM of 64 if the actor has one, and the distribution."""
    action_spec = ACTIONS[actor.kind]
    network: Any
    if actor.recurrent:
        network = ActorDistributionRnnNetwork(
            OBSERVATION,
            action_spec,
            input_fc_layer_params=(UNITS, UNITS),
            lstm_size=(UNITS,),
            output_fc_layer_params=(),
            activation_fn="tanh",
        )
    else:
        network = ActorDistributionNetwork(
            OBSERVATION, action_spec, fc_layer_params=(UNITS, UNITS), activation_fn="tanh"
        )
    return ActorPolicy(ts.time_step_spec(OBSERVATION), action_spec, network, clip=False, emit_log_probability=True)


def bare_function(policy: TFPolicy, batch_size: int) -> Call:
    """The network, the policy's draw and log-probability as a function compiled by XLA, on tensors."""
    network = policy._actor_network

    @tf.function(autograph=False, jit_compile=True)
    def act(observation: tf.Tensor, step_type: tf.Tensor, state: Any, seeds: tf.Tensor) -> Any:
        distribution, state = network(observation, step_type=step_type, network_state=state)
        action = sample(distribution, seeds)
        return action, log_prob(distribution, action), state

    return _on_tensors(policy, batch_size, act, tf.constant(_seeds(batch_size)))


def tf_agents_function(policy: TFPolicy, batch_size: int) -> Call:
    """The network, TFP's draw and log-probability as a plain tf.function, on tensors."""
    network = policy._actor_network

    @tf.function(autograph=False)
    def act(observation: tf.Tensor, step_type: tf.Tensor, state: Any, seed: tf.Tensor) -> Any:
        distribution, state = network(observation, step_type=step_type, network_state=state)
        action = distribution.sample(seed=seed)
        return action, distribution.log_prob(action), state

    return _on_tensors(policy, batch_size, act, tf.constant([1, 2]))


def _on_tensors(policy: TFPolicy, batch_size: int, act: Callable[..., Any], seed: tf.Tensor) -> Call:
    observation = tf.constant(_observation(batch_size))
    step_type, state = tf.ones(batch_size, tf.int32), policy.get_initial_state(batch_size)

    def call() -> Any:
        action, log_probability, _ = act(observation, step_type, state, seed)
        return action.numpy(), log_probability.numpy()

    return call


def numpy_call(actor: Actor, batch_size: int) -> Call:
    """The same arithmetic in NumPy; weights of the same shapes."""
    rng = np.random.default_rng(0)

    def dense(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(rows, columns)).astype(np.float32) * 0.3, np.zeros(columns, np.float32)

    (w1, b1), (w2, b2), (w3, b3) = dense(NUM_INPUTS, UNITS), dense(UNITS, UNITS), dense(UNITS, 2)
    (kernel, bias), recurrent = dense(UNITS, 4 * UNITS), dense(UNITS, 4 * UNITS)[0]
    observation = _observation(batch_size)
    state_h = state_c = np.zeros((batch_size, UNITS), np.float32)
    log_stddev = np.zeros(2, np.float32)
    first = np.zeros((batch_size, 1), bool)
    rows = np.arange(batch_size)

    def call() -> Any:
        hidden = np.tanh(np.tanh(observation @ w1 + b1) @ w2 + b2)
        if actor.recurrent:
            h, c = np.where(first, 0.0, state_h), np.where(first, 0.0, state_c)
            gates = hidden @ kernel + h @ recurrent + bias
            i, f, o = (1.0 / (1.0 + np.exp(-gates[:, k * UNITS : (k + 1) * UNITS])) for k in (0, 1, 3))
            c = f * c + i * np.tanh(gates[:, 2 * UNITS : 3 * UNITS])
            hidden = o * np.tanh(c)
        outputs = hidden @ w3 + b3
        if actor.kind == "categorical":
            shifted = outputs - outputs.max(axis=-1, keepdims=True)
            log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
            action = np.argmax(log_probabilities - np.log(-np.log(rng.random(outputs.shape, np.float32))), axis=-1)
            return action, log_probabilities[rows, action]
        noise = rng.standard_normal(outputs.shape, np.float32)
        log_probability = (-0.5 * noise**2 - log_stddev - 0.9189385).sum(axis=-1)
        return outputs + np.exp(log_stddev) * noise, log_probability

    return call


def policy_call(policy: TFPolicy, batch_size: int, inference: Any) -> Call:
    """The policy's action on arrays."""
    eager = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference=inference)
    step = ts.transition(_observation(batch_size), np.zeros(batch_size, np.float32))
    seeds = _seeds(batch_size)
    state = eager.action(step, eager.get_initial_state(batch_size), seeds).state
    if eager.inference != inference:
        raise SystemExit(f"{inference} was asked for: {eager.inference_note}")
    return lambda: eager.action(step, state, seeds)


def assign_function(source: TFPolicy, target: TFPolicy) -> Call:
    """One tf.function that assigns one policy's variables to another's."""

    @tf.function(autograph=False)
    def assign() -> None:
        for left, right in zip(source.variables(), target.variables(), strict=True):
            right.assign(left)

    return assign


def _observation(batch_size: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(batch_size, NUM_INPUTS)).astype(np.float32)


def _seeds(batch_size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(2**31, size=(batch_size, 2), dtype=np.int32)


def measure(calls: dict[str, Call], num_turns: int, turn_s: float) -> dict[str, np.ndarray]:
    """Microseconds a call of each, for each turn."""
    counts = {}
    for name, call in calls.items():
        for _ in range(30):
            call()
        start = time.perf_counter()
        for _ in range(20):
            call()
        counts[name] = max(5, int(turn_s / ((time.perf_counter() - start) / 20)))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(num_turns):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            found[name].append((time.perf_counter() - start) / counts[name] * 1e6)
    return {name: np.array(figures) for name, figures in found.items()}


def median_ratio(figures: dict[str, np.ndarray], one: str, other: str) -> float:
    """The median over the turns of one figure over another."""
    return float(np.median(figures[one] / figures[other]))


def action_rows(actor: Actor, num_turns: int, turn_s: float) -> list[list[str]]:
    """The table's rows for one actor."""
    policy = make_policy(actor)
    rows = []
    for batch_size in BATCH_SIZES:
        calls = {
            "bare": bare_function(policy, batch_size),
            "numpy": numpy_call(actor, batch_size),
            "tf": policy_call(policy, batch_size, "tf"),
            "litert": policy_call(policy, batch_size, "litert"),
            "tf_agents": tf_agents_function(policy, batch_size),
        }
        figures = measure(calls, num_turns, turn_s)
        tf_ratio = median_ratio(figures, "tf", "bare")
        litert_ratio = median_ratio(figures, "litert", "numpy")
        speedup = median_ratio(figures, "bare", "litert")
        rows.append(
            [
                actor.name,
                str(batch_size),
                *(f"{np.median(figures[name]):.0f}" for name in ("bare", "numpy", "tf", "litert", "tf_agents")),
                f"{tf_ratio:.2f} {met(tf_ratio <= 1.25)}",
                f"{litert_ratio:.2f} {met(litert_ratio <= 2.0) if batch_size <= 256 else ''}".strip(),
                f"{speedup:.1f} {met(speedup >= 8.0) if batch_size == 64 else ''}".strip(),
                f"{median_ratio(figures, 'tf_agents', 'litert'):.1f}",
            ]
        )
    return rows


def update_row(actor: Actor, num_turns: int, turn_s: float) -> list[str]:
    """The table's row of updates for one actor."""
    source, target = make_policy(actor), make_policy(actor)
    calls = {"assign": assign_function(source, target), "update": lambda: target.update(source)}
    figures = measure(calls, num_turns, turn_s)
    ratio = median_ratio(figures, "update", "assign")
    return [
        actor.name,
        str(len(target.variables())),
        *(f"{np.median(figures[name]):.0f}" for name in ("assign", "update")),
        f"{ratio:.2f} {met(ratio <= 1.5)}",
    ]


def main() -> None:
    """Prints the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9, help="turns of each side")
    parser.add_argument("--turn-s", type=float, default=0.05, help="seconds of one turn")
    arguments = parser.parse_args()
    actors = [Actor(kind, recurrent) for recurrent in (False, True) for kind in ACTIONS]
    print_header("policy call: microseconds a call, one thread", PACKAGES)
    rows = [row for actor in actors for row in action_rows(actor, arguments.turns, arguments.turn_s)]
    headings = ["actor", "batch", "bare tf.function", "NumPy", "TF", "LiteRT", "TF-Agents' way"]
    ratios = ["TF / bare (goal 1.25)", "LiteRT / NumPy (goal 2)", "bare / LiteRT (goal 8 at 64)"]
    print_table([*headings, *ratios, "TF-Agents' way / LiteRT"], rows)
    print("update: microseconds")
    print_table(
        ["actor", "variables", "tf.function that assigns", "update", "ratio (goal 1.5)"],
        [update_row(actor, arguments.turns, arguments.turn_s) for actor in actors],
    )


if __name__ == "__main__":
    main()
