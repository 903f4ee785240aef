"""What belongs to deep deterministic policy gradients (Lillicrap et al., 2016)."""
