"""APPO: PPO's surrogate on V-trace advantages, for data from older policies."""
