"""Recurrent networks in the agents of TF-Agents and of distpolicy alike, and what their ``loss`` returns.

The cases are registered beside those of ``agent_cases.py``, and recorded with them.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from agent_cases import (
    FIRST,
    LAST,
    MID,
    NUM_ACTIONS,
    SIZE,
    SOFT_PARTS,
    B,
    actor,
    agent_case,
    continuous,
    counted,
    critic,
    ddpg_agent,
    discrete,
    floats,
    module,
    numbers,
    optimizer,
    q_network,
    sequences,
    soft_agent,
    soft_networks,
    step_spec,
    td3_agent,
    trained,
)
from golden_toolkit import function_network, observation_spec

UNITS, NUM_STEPS = 3, 5
# A state that is reset inside of a sequence.
RESET = [[MID] * (NUM_STEPS + 1), [MID, MID, FIRST, MID, MID, MID], [FIRST, MID, MID, MID, FIRST, MID]]
RESET.append([MID] * (NUM_STEPS + 1))
# An episode that ends inside of a sequence.
ENDS = [*RESET[:1], [MID, MID, LAST, FIRST, MID, MID], *RESET[2:]]


def recurrent_network(ns: Any, seed: int, to_output: Any, with_action: bool = False) -> Any:
    """A user's network with a state ``[B, 3]``, which it resets where a step is FIRST; for one step or for several."""

    def call(held: Any, inputs: Any, step_type: Any, state: Any) -> Any:
        values = tf.concat(inputs, axis=-1) if with_action else inputs
        is_step = values.shape.rank == 2
        if is_step:
            values, step_type = values[:, tf.newaxis], step_type[:, tf.newaxis]
        hidden = tf.zeros([tf.shape(values)[0], UNITS]) if state in ((), None) else state[0]
        found = []
        for index in range(values.shape[1]):
            goes_on = tf.cast(tf.not_equal(step_type[:, index], FIRST), tf.float32)[:, tf.newaxis]
            hidden = tf.tanh(values[:, index] @ held[0] + (hidden * goes_on) @ held[1])
            found.append(hidden)
        outputs = tf.stack(found, axis=1)
        return to_output(held[2:], outputs[:, 0] if is_step else outputs), [hidden]

    spec = (observation_spec(), continuous(ns, shape=(1,))) if with_action else None
    num_outputs = 1 if with_action or to_output is not _values else NUM_ACTIONS
    weights = [
        numbers(SIZE + with_action, UNITS, seed=seed, scale=0.7),
        numbers(UNITS, UNITS, seed=seed + 1, scale=0.7),
        numbers(UNITS, num_outputs, seed=seed + 2, scale=0.7),
        numbers(num_outputs, seed=seed + 3, scale=0.5),
    ]
    return function_network(ns, call, spec, state_spec=[tf.TensorSpec((UNITS,), tf.float32)], weights=weights)


def _values(held: Any, hidden: Any) -> Any:
    return hidden @ held[0] + held[1]


def _action(held: Any, hidden: Any) -> Any:
    return tf.tanh(hidden @ held[0] + held[1])


def _value(held: Any, hidden: Any) -> Any:
    return tf.squeeze(hidden @ held[0], axis=-1) + held[1][0]


def _distribution(held: Any, hidden: Any) -> Any:
    loc = hidden @ held[0]
    return tfp.distributions.MultivariateNormalDiag(loc, tf.exp(held[1]) * tf.ones_like(loc))


def recurrent_batch(ns: Any, with_floats: bool, step_type: Any = RESET) -> Any:
    discount = np.ones((B, NUM_STEPS), np.float32)
    discount[1, 1] = 0.0
    action = numbers(B, NUM_STEPS, 1, seed=6, scale=0.9) if with_floats else None
    return sequences(ns, NUM_STEPS, step_type, action, discount)


@agent_case(
    "dqn_rnn",
    plain={},
    weights={"weights": True},
    ends={"step_type": ENDS, "gamma": 0.9, "reward_scale_factor": 2.0},
    ddqn={"kind": "DdqnAgent", "gamma": 0.9},
    clipping={"gradient_clipping": 0.1, "target_update_tau": 0.25, "target_update_period": 2, "num_updates": 3},
)
def dqn_rnn(
    ns: Any,
    kind: str = "DqnAgent",
    weights: bool = False,
    step_type: Any = RESET,
    num_updates: int = 1,
    **arguments: Any,
) -> Any:
    networks = {"q": recurrent_network(ns, 0, _values), "target": recurrent_network(ns, 5, _values)}
    agent = getattr(module(ns, "dqn_agent"), kind)(
        step_spec(ns),
        discrete(ns),
        networks["q"],
        optimizer(),
        target_q_network=networks["target"],
        td_errors_loss_fn=ns.common.element_wise_squared_loss,
        **arguments,
    )
    batch = recurrent_batch(ns, False, step_type)
    return trained(agent, networks, [batch] * num_updates, **counted(weights))


@agent_case("sac_rnn", plain={}, weights={"weights": True}, boundary={"step_type": ENDS})
def sac_rnn(ns: Any, weights: bool = False, step_type: Any = RESET) -> Any:
    networks = {"actor": recurrent_network(ns, 3, _distribution)}
    for name, seed in {"critic": 0, "critic_2": 2, "target": 5, "target_2": 6}.items():
        networks[name] = recurrent_network(ns, seed, _value, with_action=True)
    agent = soft_agent(ns, "sac_agent", networks)
    return trained(agent, networks, [recurrent_batch(ns, True, step_type)], SOFT_PARTS, **counted(weights))


@agent_case("td3_rnn", plain={}, weights={"weights": True})
def td3_rnn(ns: Any, weights: bool = False) -> Any:
    networks = {name: recurrent_network(ns, seed, _action) for name, seed in {"actor": 3, "target_actor": 7}.items()}
    for name, seed in {"critic": 0, "critic_2": 2, "target": 5, "target_2": 6}.items():
        networks[name] = recurrent_network(ns, seed, _value, with_action=True)
    agent = td3_agent(ns, networks)
    return trained(agent, networks, [recurrent_batch(ns, True)], ("actor_loss", "critic_loss"), **counted(weights))


@agent_case("ddpg_rnn", plain={}, clipping={"dqda_clipping": 0.1})
def ddpg_rnn(ns: Any, **arguments: Any) -> Any:
    networks = {name: recurrent_network(ns, seed, _action) for name, seed in {"actor": 3, "target_actor": 7}.items()}
    for name, seed in {"critic": 0, "target": 5}.items():
        networks[name] = recurrent_network(ns, seed, _value, with_action=True)
    agent = ddpg_agent(ns, networks, **arguments)
    return trained(agent, networks, [recurrent_batch(ns, True)], ("actor_loss", "critic_loss"))


def differentiated(agent: Any, networks: dict[str, Any], batch: Any, fields: tuple[str, ...], **options: Any) -> Any:
    """Returns the losses of ``agent.loss`` and the gradients of their sum."""
    agent.initialize()
    if isinstance(noise := getattr(agent, "noise_spec", ()), tf.TensorSpec):
        options["noise"] = tf.zeros([B, *noise.shape])
    first = int(agent.train_step_counter)
    with tf.GradientTape() as tape:
        info = agent.loss(batch, **options)
    held = {name: network.held for name, network in networks.items()}
    slopes = tape.gradient(info.loss, held, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    extra = info.extra if isinstance(info.extra, dict) else info.extra._asdict()
    return {
        "loss": float(info.loss),
        **{name: float(extra[name]) for name in fields},
        "slope": {name: [slope.numpy().tolist() for slope in found] for name, found in slopes.items()},
        "train_steps": int(agent.train_step_counter) - first,
    }


@agent_case("loss_dqn", plain={}, weights={"weights": True})
def loss_dqn(ns: Any, weights: bool = False) -> Any:
    networks = {"q": q_network(ns)}
    agent = module(ns, "dqn_agent").DqnAgent(
        step_spec(ns),
        discrete(ns),
        networks["q"],
        optimizer(),
        target_q_network=q_network(ns, seed=5),
        td_errors_loss_fn=ns.common.element_wise_squared_loss,
    )
    if ns.root == "tf_agents":
        # Its loss has a default of its own.
        td_loss = {"td_errors_loss_fn": ns.common.element_wise_squared_loss}
        return differentiated(agent, networks, sequences(ns), (), **td_loss, **counted(weights))
    return differentiated(agent, networks, sequences(ns), (), **counted(weights))


@agent_case("loss_sac", plain={}, weights={"weights": True})
def loss_sac(ns: Any, weights: bool = False) -> Any:
    networks = soft_networks(ns)
    agent = soft_agent(ns, "sac_agent", networks, initial_log_alpha=-0.5, reward_scale_factor=2.0)
    return differentiated(agent, networks, floats(ns), SOFT_PARTS, **counted(weights))


@agent_case("loss_td3", plain={}, weights={"weights": True})
def loss_td3(ns: Any, weights: bool = False) -> Any:
    networks = {"actor": actor(ns), "target_actor": actor(ns, 7)}
    for name, seed in {"critic": 0, "critic_2": 2, "target": 5, "target_2": 6}.items():
        networks[name] = critic(ns, seed)
    agent = td3_agent(ns, networks)
    if ns.root == "tf_agents":
        _give_loss(agent)
    # The sum of the parts that TF-Agents has would lead the critics, too, by the actor's loss.
    own = {"actor": networks["actor"]}
    return differentiated(agent, own, floats(ns), ("actor_loss", "critic_loss"), **counted(weights))


def _give_loss(agent: Any) -> None:
    """Gives TF-Agents' Td3Agent a loss of its parts, since it has none."""

    def loss(experience: Any, weights: Any = None) -> Any:
        now, step, after = agent._as_transition(experience)
        critic_loss = agent.critic_loss(now, step.action, after, weights=weights)
        actor_loss = agent.actor_loss(now, weights=weights)
        info = importlib.import_module("tf_agents.agents.tf_agent").LossInfo
        return info(actor_loss + critic_loss, {"actor_loss": actor_loss, "critic_loss": critic_loss})

    agent.loss = loss


@agent_case("loss_ddpg", plain={}, clipping={"dqda_clipping": 0.1})
def loss_ddpg(ns: Any, **arguments: Any) -> Any:
    networks = {"actor": actor(ns), "target_actor": actor(ns, 7), "critic": critic(ns, 0), "target": critic(ns, 5)}
    agent = ddpg_agent(ns, networks, **arguments)
    return differentiated(agent, networks, floats(ns), ("actor_loss", "critic_loss"))
