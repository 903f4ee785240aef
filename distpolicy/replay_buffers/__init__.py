"""Replay buffers in the process of an agent, with TF-Agents' interface. Runs on a cluster have their own."""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "PyUniformReplayBuffer": "distpolicy.replay_buffers.py_uniform_replay_buffer",
    "ReplayBuffer": "distpolicy.replay_buffers.replay_buffer",
    "TFUniformReplayBuffer": "distpolicy.replay_buffers.tf_uniform_replay_buffer",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
