"""CQL: Q-learning from a dataset that values actions outside the data low."""
