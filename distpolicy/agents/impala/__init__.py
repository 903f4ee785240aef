"""IMPALA: an importance-weighted actor-critic by V-trace."""
