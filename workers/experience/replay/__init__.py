"""The replay buffer: keeps the steps of all env slots in NumPy arrays, and draws batches from them."""
