"""The serve command: puts a policy on Ray Serve."""
