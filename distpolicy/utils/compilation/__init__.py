"""Compiled functions: XLA's cache, calls with little overhead, LiteRT programs."""
