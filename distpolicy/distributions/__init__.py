"""Distributions that TFP lacks."""
