"""Names of types for annotations."""
