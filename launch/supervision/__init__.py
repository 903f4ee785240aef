"""Handling of workers that fail: calls with timeouts, Ray's errors, and the pool that replaces collectors."""
