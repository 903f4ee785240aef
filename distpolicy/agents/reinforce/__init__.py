"""REINFORCE: the policy gradient of whole episodes."""
