"""Policies that act in workers: made from a name or a folder, or running on an inference server."""
