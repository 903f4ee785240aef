"""The output of a run: run directory, metrics, report and terminal."""
