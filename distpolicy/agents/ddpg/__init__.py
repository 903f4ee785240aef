"""Networks of deep deterministic policy gradients (Lillicrap et al., 2016)."""
