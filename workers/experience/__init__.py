"""From rollouts to what an agent trains on, in the learner's process."""
