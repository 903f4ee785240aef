"""Policies that choose between policies."""
