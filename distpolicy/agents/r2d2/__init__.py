"""R2D2: Q-learning by recurrent networks from replayed sequences."""
