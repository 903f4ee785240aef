"""Agents of TF-Agents and of distpolicy alike: what one batch does to fixed weights.

A case makes an agent by the constructor that both libraries have, trains it on a fixed batch with plain gradient
descent, and returns the losses and by how much each weight has changed, which is the gradient times the step size.
The draws of both libraries are the means of their distributions; see ``record_agents.py``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from golden_toolkit import continuous, discrete, function_network, linear_network, observation_spec, step_spec

AGENT_CASES: dict[str, Callable[[Any], dict[str, Any]]] = {}

AGENT_MODULES = {
    "actor_rnn_network": "ddpg",
    "behavioral_cloning_agent": "behavioral_cloning",
    "categorical_dqn_agent": "categorical_dqn",
    "cql_sac_agent": "cql",
    "data_converter": "",
    "ddpg_agent": "ddpg",
    "dqn_agent": "dqn",
    "ppo_agent": "ppo",
    "ppo_clip_agent": "ppo",
    "ppo_kl_penalty_agent": "ppo",
    "ppo_policy": "ppo",
    "reinforce_agent": "reinforce",
    "sac_agent": "sac",
    "td3_agent": "td3",
}

FIRST, MID, LAST = 0, 1, 2
STEP_SIZE = 0.125
B, SIZE, NUM_ACTIONS, NUM_ATOMS = 4, 2, 3, 5


def module(ns: Any, name: str) -> Any:
    """A module of the library's agents."""
    return importlib.import_module(".".join(filter(None, (ns.root, "agents", AGENT_MODULES[name], name))))


def agent_case(name: str, **arguments: dict[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function of a namespace and keywords, once for each entry, as ``name/key``."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for key, values in (arguments or {"": {}}).items():
            AGENT_CASES[f"{name}/{key}" if key else name] = lambda ns, values=values: function(ns, **values)
        return function

    return register


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Fixed numbers in [-scale, scale]."""
    size = int(np.prod(shape))
    return (scale * np.sin(np.arange(1, size + 1) * 1.7 + seed)).reshape(shape).astype(np.float32)


def sequences(
    ns: Any,
    num_steps: int = 2,
    step_type: Any = None,
    action: Any = None,
    discount: Any = None,
    info: Any = (),
    **more: Any,
) -> Any:
    """A Trajectory ``[B, T, ...]`` of fixed numbers, without boundaries unless step types ``[B, T + 1]`` are given."""
    types = np.full((B, num_steps + 1), MID, np.int32) if step_type is None else np.asarray(step_type, np.int32)
    rows = len(types)
    values = {
        "step_type": types[:, :-1],
        "observation": numbers(rows, num_steps, SIZE, seed=1),
        "action": np.arange(rows * num_steps).reshape(rows, num_steps) % NUM_ACTIONS if action is None else action,
        "policy_info": info,
        "next_step_type": types[:, 1:],
        "reward": numbers(rows, num_steps, seed=2),
        "discount": np.ones((rows, num_steps), np.float32) if discount is None else discount,
        **more,
    }
    return tf.nest.map_structure(tf.constant, ns.trajectory.Trajectory(**values))


def optimizer() -> Any:
    """Plain gradient descent."""
    return tf.keras.optimizers.SGD(learning_rate=STEP_SIZE)


def trained(agent: Any, networks: dict[str, Any], batches: Any, fields: tuple[str, ...] = (), **options: Any) -> Any:
    """Trains on each batch; returns the losses, the weights' changes and the counter."""
    agent.initialize()
    before = {name: [item.numpy() for item in network.held] for name, network in networks.items()}
    first = int(agent.train_step_counter)
    losses: list[float] = []
    parts: dict[str, list[float]] = {name: [] for name in fields}
    for batch in batches:
        if isinstance(noise := getattr(agent, "noise_spec", ()), tf.TensorSpec):
            outer = batch.reward.shape if agent.train_sequence_length is None else [B]
            options["noise"] = tf.zeros([*outer, *noise.shape])
        info = agent.train(batch, **options)
        losses.append(float(info.loss))
        for name in fields:
            found = info.extra[name] if isinstance(info.extra, dict) else getattr(info.extra, name)
            parts[name].append(float(found))
    change = {
        name: [(new.numpy() - old).tolist() for new, old in zip(network.held, before[name], strict=True)]
        for name, network in networks.items()
    }
    return {"loss": losses, **parts, "change": change, "train_steps": int(agent.train_step_counter) - first}


def q_network(ns: Any, seed: int = 0) -> Any:
    return linear_network(ns, numbers(SIZE, NUM_ACTIONS, seed=seed))


def counted(weights: bool) -> dict[str, Any]:
    return {"weights": tf.constant([0.5, 2.0, 1.0, 0.25])} if weights else {}


@agent_case(
    "dqn",
    plain={},
    huber={"td_errors_loss_fn": "huber"},
    gamma={"gamma": 0.9, "reward_scale_factor": 2.0},
    gradient_clipping={"gradient_clipping": 0.1},
    weights={"weights": True},
    n_step={"n_step_update": 3, "gamma": 0.9},
    n_step_terminated={"n_step_update": 3, "gamma": 0.9, "ends": True},
    target={"target_update_tau": 0.25, "target_update_period": 2, "num_updates": 3},
    ddqn={"kind": "DdqnAgent", "gamma": 0.9},
    boundary={"boundary": True},
)
def dqn(
    ns: Any,
    kind: str = "DqnAgent",
    weights: bool = False,
    ends: bool = False,
    boundary: bool = False,
    num_updates: int = 1,
    td_errors_loss_fn: str = "squared",
    **arguments: Any,
) -> Any:
    network, target = q_network(ns), q_network(ns, seed=5)
    loss = getattr(ns.common, f"element_wise_{td_errors_loss_fn}_loss")
    agent = getattr(module(ns, "dqn_agent"), kind)(
        step_spec(ns), discrete(ns), network, optimizer(), target_q_network=target, td_errors_loss_fn=loss, **arguments
    )
    steps = arguments.get("n_step_update", 1) + 1
    types, discount = np.full((B, steps + 1), MID), np.ones((B, steps), np.float32)
    if ends:
        types[1, 2], discount[1, 1] = LAST, 0.0
        types[1, 3] = FIRST
    if boundary:
        types[2, 0:2] = LAST, FIRST
    batch = sequences(ns, steps, types, discount=discount)
    return trained(agent, {"q": network, "target": target}, [batch] * num_updates, **counted(weights))


@agent_case("dqn/masks")
def dqn_masks(ns: Any) -> Any:
    network, target = q_network(ns), q_network(ns, seed=5)
    spec = {"input": observation_spec(), "mask": tf.TensorSpec((NUM_ACTIONS,), tf.int32)}
    agent = module(ns, "dqn_agent").DqnAgent(
        step_spec(ns, spec),
        discrete(ns),
        network,
        optimizer(),
        observation_and_action_constraint_splitter=lambda nest: (nest["input"], nest["mask"]),
        target_q_network=target,
        td_errors_loss_fn=ns.common.element_wise_squared_loss,
    )
    mask = np.ones((B, 2, NUM_ACTIONS), np.int32)
    mask[:, :, 0] = 0
    mask[1, 1, 1] = 0
    observation = {"input": numbers(B, 2, SIZE, seed=1), "mask": mask}
    batch = sequences(ns, action=np.full((B, 2), 2), observation=observation)
    return trained(agent, {"q": network}, [batch])


@agent_case("c51", plain={}, n_step={"n_step_update": 2}, weights={"weights": True})
def c51(ns: Any, weights: bool = False, **arguments: Any) -> Any:
    def network(seed: int) -> Any:
        def call(held: Any, observation: Any, step_type: Any, state: Any) -> Any:
            return tf.reshape(observation @ held[0], [-1, NUM_ACTIONS, NUM_ATOMS]), state

        made = function_network(ns, call, weights=[numbers(SIZE, NUM_ACTIONS * NUM_ATOMS, seed=seed)])
        made.num_atoms = NUM_ATOMS
        return made

    own, target = network(0), network(5)
    agent = module(ns, "categorical_dqn_agent").CategoricalDqnAgent(
        step_spec(ns),
        discrete(ns),
        own,
        optimizer(),
        min_q_value=-2.0,
        max_q_value=2.0,
        target_categorical_q_network=target,
        gamma=0.9,
        **arguments,
    )
    return trained(agent, {"q": own}, [sequences(ns, arguments.get("n_step_update", 1) + 1)], **counted(weights))


def actor(ns: Any, seed: int = 3) -> Any:
    """From observations to one action of floats."""
    return linear_network(ns, numbers(SIZE, 1, seed=seed, scale=0.3), tf.tanh)


def normal_actor(ns: Any, size: int = 1) -> Any:
    """From observations to normal actions."""

    def call(held: Any, observation: Any, step_type: Any, state: Any) -> Any:
        loc = observation @ held[0]
        scale = tf.exp(held[1]) * tf.ones_like(loc)
        return tfp.distributions.MultivariateNormalDiag(loc, scale), state

    return function_network(
        ns, call, weights=[numbers(SIZE, size, seed=3, scale=0.3), numbers(size, seed=4, scale=0.5)]
    )


def critic(ns: Any, seed: int) -> Any:
    """From observations and actions to values."""

    def call(held: Any, inputs: Any, step_type: Any, state: Any) -> Any:
        observation, action = inputs
        together = tf.concat([observation, action], axis=-1)
        return tf.reshape(tf.tanh(together @ held[0]) @ held[1], tf.shape(observation)[:-1]), state

    weights = [numbers(SIZE + 1, 3, seed=seed), numbers(3, 1, seed=seed + 1)]
    return function_network(ns, call, (observation_spec(), continuous(ns, shape=(1,))), weights=weights)


def floats(ns: Any, **more: Any) -> Any:
    return sequences(ns, action=numbers(B, 2, 1, seed=6, scale=0.9), **more)


def ddpg_agent(ns: Any, networks: dict[str, Any], **arguments: Any) -> Any:
    return module(ns, "ddpg_agent").DdpgAgent(
        step_spec(ns),
        continuous(ns, shape=(1,)),
        networks["actor"],
        networks["critic"],
        optimizer(),
        optimizer(),
        target_actor_network=networks["target_actor"],
        target_critic_network=networks["target"],
        gamma=0.9,
        **arguments,
    )


@agent_case(
    "ddpg",
    plain={},
    weights={"weights": True},
    dqda_clipping={"dqda_clipping": 0.1},
    target={"target_update_tau": 0.25},
)
def ddpg(ns: Any, weights: bool = False, **arguments: Any) -> Any:
    networks = {"actor": actor(ns), "critic": critic(ns, 0), "target_actor": actor(ns, 7), "target": critic(ns, 5)}
    agent = ddpg_agent(ns, networks, **arguments)
    return trained(agent, networks, [floats(ns)], ("actor_loss", "critic_loss"), **counted(weights))


def td3_agent(ns: Any, networks: dict[str, Any], **arguments: Any) -> Any:
    return module(ns, "td3_agent").Td3Agent(
        step_spec(ns),
        continuous(ns, shape=(1,)),
        networks["actor"],
        networks["critic"],
        optimizer(),
        optimizer(),
        critic_network_2=networks["critic_2"],
        target_actor_network=networks["target_actor"],
        target_critic_network=networks["target"],
        target_critic_network_2=networks["target_2"],
        gamma=0.9,
        **arguments,
    )


@agent_case(
    "td3",
    plain={},
    weights={"weights": True},
    periods={"actor_update_period": 2, "target_update_tau": 0.25, "target_update_period": 2, "num_updates": 3},
)
def td3(ns: Any, weights: bool = False, num_updates: int = 1, **arguments: Any) -> Any:
    networks = {
        "actor": actor(ns),
        "critic": critic(ns, 0),
        "critic_2": critic(ns, 2),
        "target_actor": actor(ns, 7),
        "target": critic(ns, 5),
        "target_2": critic(ns, 6),
    }
    agent = td3_agent(ns, networks, train_step_counter=tf.Variable(0, dtype=tf.int64), **arguments)
    return trained(agent, networks, [floats(ns)] * num_updates, ("actor_loss", "critic_loss"), **counted(weights))


def soft_networks(ns: Any) -> dict[str, Any]:
    return {
        "actor": normal_actor(ns),
        "critic": critic(ns, 0),
        "critic_2": critic(ns, 2),
        "target": critic(ns, 5),
        "target_2": critic(ns, 6),
    }


def soft_agent(ns: Any, name: str, networks: dict[str, Any], **arguments: Any) -> Any:
    kind = {"sac_agent": "SacAgent", "cql_sac_agent": "CqlSacAgent"}[name]
    return getattr(module(ns, name), kind)(
        step_spec(ns),
        continuous(ns, shape=(1,)),
        networks["critic"],
        networks["actor"],
        optimizer(),
        optimizer(),
        optimizer(),
        critic_network_2=networks["critic_2"],
        target_critic_network=networks["target"],
        target_critic_network_2=networks["target_2"],
        gamma=0.9,
        **arguments,
    )


SOFT_PARTS = ("actor_loss", "critic_loss", "alpha_loss")


@agent_case(
    "sac",
    plain={},
    weights={"weights": True},
    settings={"initial_log_alpha": -0.5, "target_entropy": -2.0, "reward_scale_factor": 2.0, "actor_loss_weight": 0.5},
    alpha={"use_log_alpha_in_alpha_loss": False, "initial_log_alpha": 0.3},
    target={"target_update_tau": 0.25, "target_update_period": 2, "num_updates": 3, "alpha_loss_weight": 0.0},
)
def sac(ns: Any, weights: bool = False, num_updates: int = 1, **arguments: Any) -> Any:
    networks = soft_networks(ns)
    agent = soft_agent(ns, "sac_agent", networks, **arguments)
    return trained(agent, networks, [floats(ns)] * num_updates, SOFT_PARTS, **counted(weights))


@agent_case(
    "cql",
    plain={"include_critic_entropy_term": True},
    without_entropy={"include_critic_entropy_term": False, "softmax_temperature": 2.0},
    bc_steps={"include_critic_entropy_term": True, "num_bc_steps": 5},
)
def cql(ns: Any, **arguments: Any) -> Any:
    networks = soft_networks(ns)
    agent = soft_agent(
        ns,
        "cql_sac_agent",
        networks,
        train_step_counter=tf.Variable(0, dtype=tf.int64),
        cql_alpha=2.0,
        num_cql_samples=3,
        use_lagrange_cql_alpha=False,
        **arguments,
    )
    return trained(agent, networks, [floats(ns)], SOFT_PARTS)


WHOLE = [[FIRST, MID, MID, MID, LAST]] * B
PARTLY = [*WHOLE[:2], [FIRST, MID, LAST, FIRST, MID], [MID, MID, MID, LAST, FIRST]]


def categorical_actor(ns: Any) -> Any:
    def categorical(logits: Any) -> Any:
        return tfp.distributions.Categorical(logits=logits, dtype=tf.int64)

    return linear_network(ns, numbers(SIZE, NUM_ACTIONS, seed=3), categorical)


def value_network(ns: Any) -> Any:
    return linear_network(ns, numbers(SIZE, 1, seed=8), lambda values: tf.squeeze(values, -1))


@agent_case(
    "reinforce",
    plain={},
    returns={"normalize_returns": False, "gamma": 0.9},
    entropy={"entropy_regularization": 0.1},
    baseline={"baseline": True},
    baseline_alone={"baseline": True, "use_advantage_loss": False, "value_estimation_loss_coef": 0.5},
    weights={"weights": True, "normalize_returns": False},
    partly={"step_type": PARTLY, "normalize_returns": False, "gamma": 0.9},
    gradient_clipping={"gradient_clipping": 0.1},
    continuous={"with_floats": True},
)
def reinforce(
    ns: Any,
    baseline: bool = False,
    weights: bool = False,
    with_floats: bool = False,
    step_type: Any = WHOLE,
    **arguments: Any,
) -> Any:
    networks = {"actor": normal_actor(ns) if with_floats else categorical_actor(ns)}
    if baseline:
        networks["value"] = value_network(ns)
    agent = module(ns, "reinforce_agent").ReinforceAgent(
        step_spec(ns),
        continuous(ns, shape=(1,)) if with_floats else discrete(ns),
        networks["actor"],
        optimizer(),
        value_network=networks.get("value"),
        **arguments,
    )
    action = numbers(B, 4, 1, seed=6) if with_floats else None
    more = {"weights": tf.constant(1.5 + numbers(B, 4, seed=9))} if weights else {}
    parts = ("policy_gradient_loss", "entropy_regularization_loss", "value_estimation_loss")
    return trained(agent, networks, [sequences(ns, 4, step_type, action)], parts, **more)


PPO_PARTS = (
    "policy_gradient_loss",
    "value_estimation_loss",
    "l2_regularization_loss",
    "entropy_regularization_loss",
    "kl_penalty_loss",
)


def ppo_info(with_floats: bool, num_steps: int) -> dict[str, Any]:
    """What a policy near the one that learns would tell, with returns and advantages."""
    if with_floats:
        params = {
            "loc": numbers(B, num_steps, 1, seed=10, scale=0.3),
            "scale_diag": 1.0 + numbers(B, num_steps, 1, seed=11, scale=0.3),
        }
    else:
        params = {"logits": numbers(B, num_steps, NUM_ACTIONS, seed=10)}
    values = {"value_prediction": 12, "return": 13, "advantage": 14}
    return {"dist_params": params, **{key: numbers(B, num_steps, seed=seed) for key, seed in values.items()}}


def ppo_agent(ns: Any, kind: str, networks: dict[str, Any], with_floats: bool, **arguments: Any) -> Any:
    name = {"PPOAgent": "ppo_agent", "PPOClipAgent": "ppo_clip_agent", "PPOKLPenaltyAgent": "ppo_kl_penalty_agent"}[
        kind
    ]
    return getattr(module(ns, name), kind)(
        step_spec(ns),
        continuous(ns, shape=(1,)) if with_floats else discrete(ns),
        optimizer=optimizer(),
        actor_net=networks["actor"],
        value_net=networks["value"],
        compute_value_and_advantage_in_train=False,
        **arguments,
    )


_PLAIN = {"num_epochs": 1, "normalize_observations": False}
# TF-Agents' PPOKLPenaltyAgent fails with its own default of kl_cutoff_factor.
_KL = {
    "kl_cutoff_factor": 0.0,
    "initial_adaptive_kl_beta": 1.0,
    "adaptive_kl_target": 0.01,
    "adaptive_kl_tolerance": 0.3,
    **_PLAIN,
}


@agent_case(
    "ppo",
    clip={"importance_ratio_clipping": 0.2, **_PLAIN},
    clip_floats={"importance_ratio_clipping": 0.2, "with_floats": True, **_PLAIN},
    entropy={"importance_ratio_clipping": 0.2, "entropy_regularization": 0.1, **_PLAIN},
    value_clipping={"value_clipping": 0.2, **_PLAIN},
    gradient_clipping={"gradient_clipping": 0.05, **_PLAIN},
    weights={"importance_ratio_clipping": 0.2, "weights": True, **_PLAIN},
    kl={"kind": "PPOKLPenaltyAgent", **_KL},
    kl_floats={"kind": "PPOKLPenaltyAgent", "with_floats": True, **_KL},
    cutoff={"kind": "PPOAgent", "log_prob_clipping": 1.0, **_KL, "kl_cutoff_factor": 2.0},
    epochs={"importance_ratio_clipping": 0.2, "num_epochs": 3, "normalize_observations": False},
    kl_epochs={"kind": "PPOKLPenaltyAgent", **_KL, "num_epochs": 3},
)
def ppo(ns: Any, kind: str = "PPOClipAgent", with_floats: bool = False, weights: bool = False, **arguments: Any) -> Any:
    networks = {"actor": normal_actor(ns) if with_floats else categorical_actor(ns), "value": value_network(ns)}
    agent = ppo_agent(ns, kind, networks, with_floats, **arguments)
    action = numbers(B, 4, 1, seed=6) if with_floats else None
    batch = sequences(ns, 4, action=action, info=ppo_info(with_floats, 4))
    more = {"weights": tf.constant(1.5 + numbers(B, 4, seed=9))} if weights else {}
    found = trained(agent, networks, [batch], PPO_PARTS, **more)
    if arguments["num_epochs"] > 1:
        # TF-Agents returns the losses of the last epoch.
        found = {"change": found["change"], "train_steps": found["train_steps"]}
    return found


@agent_case(
    "ppo_preprocessing",
    returns={},
    gae={"use_gae": True, "lambda_value": 0.8},
    td_lambda={"use_gae": True, "use_td_lambda_return": True, "lambda_value": 0.8},
    normalized={"use_gae": True, "normalize_rewards": True, "reward_norm_clipping": 1.0},
)
def ppo_preprocessing(ns: Any, normalize_rewards: bool = False, **arguments: Any) -> Any:
    networks = {"actor": categorical_actor(ns), "value": value_network(ns)}
    agent = ppo_agent(
        ns, "PPOClipAgent", networks, False, normalize_rewards=normalize_rewards, discount_factor=0.9, **arguments
    )
    types = np.full((B, 6), MID)
    discount = np.ones((B, 5), np.float32)
    types[1, 3:5], discount[1, 2] = (LAST, FIRST), 0.0
    info = ppo_info(False, 5)
    # TF-Agents bootstraps generalised estimates from the last value but one.
    info["value_prediction"][:, -1] = info["value_prediction"][:, -2]
    kept = {key: info[key] for key in ("dist_params", "value_prediction")}
    batch = sequences(ns, 5, types, discount=discount, info=kept)
    if normalize_rewards:
        agent.update_reward_normalizer(tf.constant(numbers(B, 50, seed=20, scale=3.0)))
    made = agent.preprocess_sequence(batch).policy_info
    real = np.ones((B, 5), bool)
    real[1, 3] = False  # Nothing is learned from a boundary.
    return {key: made[key].numpy()[real].tolist() for key in ("return", "advantage")}


@agent_case("bc", logits={}, weights={"weights": True}, floats={"with_floats": True}, likelihood={"normal": True})
def behavioral_cloning(ns: Any, weights: bool = False, with_floats: bool = False, normal: bool = False) -> Any:
    is_float = with_floats or normal
    network = normal_actor(ns) if normal else actor(ns) if with_floats else q_network(ns)
    agent = module(ns, "behavioral_cloning_agent").BehavioralCloningAgent(
        step_spec(ns), continuous(ns, shape=(1,)) if is_float else discrete(ns), network, optimizer()
    )
    batch = sequences(ns, 2, action=numbers(B, 2, 1, seed=6, scale=0.9) if is_float else None)
    batch = tf.nest.map_structure(lambda leaf: leaf[:, 0], batch)
    return trained(agent, {"network": network}, [batch], **counted(weights))
