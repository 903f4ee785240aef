"""Serving a policy: validation, sessions, batches, and the servers of HTTP and gRPC in each replica."""
