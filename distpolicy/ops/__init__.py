"""Pure functions on arrays: returns, advantages and targets."""
