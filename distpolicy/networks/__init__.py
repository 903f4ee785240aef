"""Networks of Keras 3 layers."""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "ActorDistributionNetwork": "distpolicy.networks.actor_distribution_network",
    "ActorDistributionRnnNetwork": "distpolicy.networks.actor_distribution_rnn_network",
    "CategoricalQNetwork": "distpolicy.networks.categorical_q_network",
    "DistributionNetwork": "distpolicy.networks.network",
    "DuelingQNetwork": "distpolicy.networks.dueling_q_network",
    "EncodingNetwork": "distpolicy.networks.encoding_network",
    "LSTMEncodingNetwork": "distpolicy.networks.lstm_encoding_network",
    "NestFlatten": "distpolicy.networks.nest_map",
    "NestMap": "distpolicy.networks.nest_map",
    "Network": "distpolicy.networks.network",
    "NoisyQNetwork": "distpolicy.networks.noisy_q_network",
    "QNetwork": "distpolicy.networks.q_network",
    "QRnnNetwork": "distpolicy.networks.q_rnn_network",
    "Sequential": "distpolicy.networks.sequential",
    "ValueNetwork": "distpolicy.networks.value_network",
    "ValueRnnNetwork": "distpolicy.networks.value_rnn_network",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
