"""IQL: implicit Q-learning from a dataset."""
