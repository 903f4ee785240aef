"""Policies with TF-Agents' interface."""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "ActorPolicy": "distpolicy.policies.actor_policy",
    "AsyncPolicySaver": "distpolicy.policies.async_policy_saver",
    "BatchedPyPolicy": "distpolicy.policies.batched_py_policy",
    "BoltzmannPolicy": "distpolicy.policies.boltzmann_policy",
    "CategoricalQPolicy": "distpolicy.policies.categorical_q_policy",
    "EpsilonGreedyPolicy": "distpolicy.policies.epsilon_greedy_policy",
    "EpsilonSpreadPolicy": "distpolicy.policies.epsilon_spread_policy",
    "FixedPolicy": "distpolicy.policies.fixed_policy",
    "GaussianPolicy": "distpolicy.policies.gaussian_policy",
    "GreedyPolicy": "distpolicy.policies.greedy_policy",
    "NoisyQPolicy": "distpolicy.policies.noisy_q_policy",
    "OUNoisePolicy": "distpolicy.policies.ou_noise_policy",
    "PolicyInfoUpdaterWrapper": "distpolicy.policies.policy_info_updater_wrapper",
    "PolicySaver": "distpolicy.policies.policy_saver",
    "PyPolicy": "distpolicy.policies.py_policy",
    "PyTFEagerPolicy": "distpolicy.policies.py_tf_eager_policy",
    "PyTFEagerPolicyBase": "distpolicy.policies.py_tf_eager_policy",
    "QPolicy": "distpolicy.policies.q_policy",
    "RandomPyPolicy": "distpolicy.policies.random_py_policy",
    "RandomTFPolicy": "distpolicy.policies.random_tf_policy",
    "SavedModelPolicy": "distpolicy.policies.saved_model_policy",
    "SavedModelPyTFEagerPolicy": "distpolicy.policies.py_tf_eager_policy",
    "ScriptedPyPolicy": "distpolicy.policies.scripted_py_policy",
    "TFPolicy": "distpolicy.policies.tf_policy",
    "TFPyPolicy": "distpolicy.policies.tf_py_policy",
    "TemporalActionSmoothing": "distpolicy.policies.temporal_action_smoothing",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
