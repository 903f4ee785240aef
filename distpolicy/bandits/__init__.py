"""Policies that TF-Agents has in its bandits package."""
