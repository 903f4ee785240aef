"""Helpers for nests, variables, sampling, compilation and files."""
