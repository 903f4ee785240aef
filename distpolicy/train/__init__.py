"""Actors and learners of one process, with TF-Agents' interface."""
