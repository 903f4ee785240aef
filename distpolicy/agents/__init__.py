"""Agents: what policies learn by."""
