"""What belongs to soft actor-critic (Haarnoja et al., 2018)."""
