"""Environments in every form that a collector steps."""
