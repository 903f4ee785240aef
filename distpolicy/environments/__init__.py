"""Environments of NumPy arrays."""
