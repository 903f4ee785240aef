"""TD3: twin critics, target policy smoothing and a delayed actor (Fujimoto et al., 2018)."""
