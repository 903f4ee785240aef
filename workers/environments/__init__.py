"""Environments in every form that a collector can step."""
