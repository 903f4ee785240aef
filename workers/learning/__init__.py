"""Learners: an agent that learns from rollouts, alone or as one of several replicas."""
