"""Writes the SavedModels of TF-Agents that the tests load, and what they answered, into this folder.

Run it with tf-agents==0.19.0 and TensorFlow 2.15: ``python save_tf_agents_policies.py``. The tests need neither.
"""

import json
import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow as tf
from tf_agents.agents.ppo import ppo_policy
from tf_agents.networks import (
    actor_distribution_network,
    actor_distribution_rnn_network,
    value_network,
)
from tf_agents.policies import actor_policy, greedy_policy, policy_saver
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

HERE = pathlib.Path(__file__).parent
OBSERVATION = tensor_spec.BoundedTensorSpec((3,), tf.float32, -10.0, 10.0, "observation")
DISCRETE = tensor_spec.BoundedTensorSpec((), tf.int64, 0, 3, "action")
BOX = tensor_spec.BoundedTensorSpec((2,), tf.float32, [-1.0, 0.0], [1.0, 4.0], "action")
DICT = {"camera": tensor_spec.BoundedTensorSpec((2,), tf.float32, 0.0, 1.0, "camera"), "speed": OBSERVATION}


def randomized(policy, seed):
    generator = np.random.RandomState(seed)
    for variable in policy.variables():
        variable.assign(generator.normal(scale=0.7, size=variable.shape).astype(np.float32))
    return policy


def step(batch_size, seed, step_type=1, spec=OBSERVATION):
    generator = np.random.RandomState(seed)
    observation = tf.nest.map_structure(
        lambda leaf: tf.constant(generator.normal(size=(batch_size, *leaf.shape)).astype(np.float32)), spec
    )
    return ts.TimeStep(tf.fill([batch_size], step_type), tf.zeros([batch_size]), tf.ones([batch_size]), observation)


def plain(nest):
    if hasattr(nest, "_asdict"):
        return {name: plain(child) for name, child in nest._asdict().items()}
    if isinstance(nest, dict):
        return {name: plain(child) for name, child in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [plain(child) for child in nest]
    return nest.numpy().tolist()


def save(saver, name, only_variables=False):
    with tempfile.TemporaryDirectory() as folder:
        (saver.save_checkpoint if only_variables else saver.save)(folder)
        shutil.make_archive(str(HERE / f"tf_agents_{name}"), "zip", folder)


def unroll(policy, steps):
    state = policy.get_initial_state(len(steps[0].reward))
    answers = []
    for item in steps:
        answer = policy.action(item, state)
        state = answer.state
        answers.append({"time_step": plain(item), "step": plain(answer)})
    return answers


def main():
    expected = {}
    network = actor_distribution_network.ActorDistributionNetwork(OBSERVATION, DISCRETE, fc_layer_params=(4,))
    actor = randomized(actor_policy.ActorPolicy(ts.time_step_spec(OBSERVATION), DISCRETE, network), 0)
    greedy = greedy_policy.GreedyPolicy(actor)
    train_step, score = tf.Variable(5, dtype=tf.int64), tf.Variable(2.5)
    metadata = {"score": score, "games": tf.Variable(3)}
    saver = policy_saver.PolicySaver(greedy, train_step=train_step, metadata=metadata)
    save(saver, "greedy")
    expected["greedy"] = unroll(greedy, [step(16, 1)])
    save(policy_saver.PolicySaver(actor, batch_size=4), "actor")
    item = step(4, 2)
    expected["actor"] = {"time_step": plain(item), "logits": plain(actor.distribution(item).action.logits)}
    randomized(actor, 3)
    train_step.assign(9)
    save(saver, "greedy_checkpoint", only_variables=True)
    expected["greedy_checkpoint"] = unroll(greedy, [step(16, 1)])

    network = actor_distribution_rnn_network.ActorDistributionRnnNetwork(
        OBSERVATION, DISCRETE, input_fc_layer_params=(4,), output_fc_layer_params=(4,), lstm_size=(3,)
    )
    recurrent = actor_policy.ActorPolicy(ts.time_step_spec(OBSERVATION), DISCRETE, network)
    recurrent = greedy_policy.GreedyPolicy(randomized(recurrent, 4))
    steps = [step(2, 5, 0), step(2, 6), step(2, 7, 2), step(2, 8, 0), step(2, 9)]
    for name, batch_size in (("recurrent", None), ("recurrent_fixed", 2)):
        save(policy_saver.PolicySaver(recurrent, batch_size=batch_size), name)
        expected[name] = unroll(recurrent, steps)

    settings = {
        "preprocessing_layers": tf.nest.map_structure(lambda _: tf.keras.layers.Dense(3), DICT),
        "preprocessing_combiner": tf.keras.layers.Concatenate(),
        "fc_layer_params": (4,),
    }
    network = actor_distribution_network.ActorDistributionNetwork(DICT, BOX, **settings)
    values = value_network.ValueNetwork(DICT, **settings)
    ppo = ppo_policy.PPOPolicy(
        ts.time_step_spec(DICT),
        BOX,
        network,
        values,
        clip=False,
        collect=True,
        compute_value_and_advantage_in_train=False,
    )
    save(policy_saver.PolicySaver(randomized(ppo, 10)), "info")
    item = step(4, 11, spec=DICT)
    distribution = ppo.distribution(item).action
    expected["info"] = {
        "time_step": plain(item),
        "info": plain(ppo.action(item).info),
        "mean": plain(distribution.mean()),
        "stddev": plain(distribution.stddev()),
    }
    (HERE / "tf_agents_expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
