"""Agents: the algorithms that train policies."""
