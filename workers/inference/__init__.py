"""Policies where they act: from a name or a folder, and on an inference server."""
