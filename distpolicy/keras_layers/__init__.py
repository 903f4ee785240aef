"""Keras 3 layers that networks are made of."""
