"""Workers that fail: calls with deadlines, Ray's errors told apart, and the pool that replaces collectors."""
