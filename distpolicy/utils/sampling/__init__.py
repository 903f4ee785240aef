"""Random numbers from one stateless seed for each row."""
