"""What a run shows and leaves: run directory, metrics, report and terminal."""
