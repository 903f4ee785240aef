"""Replay buffers in the process of an agent, with TF-Agents' interface. Runs on a cluster have their own."""
