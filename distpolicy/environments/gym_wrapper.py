"""GymWrapper: the name of :class:`distpolicy.environments.gymnasium_wrapper.GymnasiumWrapper` in code for Gym."""

from distpolicy.environments.gymnasium_wrapper import GymnasiumWrapper as GymWrapper

__all__ = ["GymWrapper"]
