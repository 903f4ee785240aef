"""Evaluation of policies by metrics."""
