"""Nests: dicts, tuples, lists and namedtuples of arrays or tensors."""
