"""GymWrapper: the name of :class:`distpolicy.environments.gymnasium_wrapper.GymnasiumWrapper` in code for Gym."""

from distpolicy.environments.gymnasium_wrapper import GymnasiumWrapper as GymWrapper
from distpolicy.environments.gymnasium_wrapper import spec_from_gym_space

__all__ = ["GymWrapper", "spec_from_gym_space"]
