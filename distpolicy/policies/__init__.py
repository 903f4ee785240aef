"""Policies, with TF-Agents' interface."""
