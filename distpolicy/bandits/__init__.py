"""Policies that TF-Agents keeps with its bandits."""
