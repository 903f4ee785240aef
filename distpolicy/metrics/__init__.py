"""Metrics of collected experience, over tensors (``tf_metrics``) and over arrays (``py_metrics``)."""
