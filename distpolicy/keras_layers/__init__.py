"""Keras 3 layers for networks."""
