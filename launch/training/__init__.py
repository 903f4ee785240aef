"""Training: the run, its loop, its workers and its checkpoints."""
