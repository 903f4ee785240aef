"""C51: Q-learning of distributions over returns."""
