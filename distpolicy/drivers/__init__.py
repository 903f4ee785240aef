"""Loops of a policy and an environment."""
