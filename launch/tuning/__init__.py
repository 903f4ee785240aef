"""Sweeps over the settings of training runs, on Ray Tune."""
