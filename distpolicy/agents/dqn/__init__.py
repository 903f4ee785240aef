"""DQN: deep Q-learning, with double Q-learning and dueling networks."""
