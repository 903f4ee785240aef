"""MARWIL: imitation that is weighted by the exponential of the advantage."""
