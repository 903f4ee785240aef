"""Functions that training programs use."""
