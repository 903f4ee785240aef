"""How a served policy is asked: messages, their forms on the wire, and a client. Needs neither Ray nor TensorFlow."""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "ActReply": "distpolicy.serving.messages",
    "ActRequest": "distpolicy.serving.messages",
    "PolicyClient": "distpolicy.serving.client",
    "ServingError": "distpolicy.serving.messages",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
