"""Environments that each have a process of their own (``async``)."""
