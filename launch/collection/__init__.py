"""Collecting: a job that writes a policy's experience to a dataset."""
