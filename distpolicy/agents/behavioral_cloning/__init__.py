"""Behavioural cloning: supervised learning of the actions in a dataset."""
