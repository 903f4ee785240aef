"""Conformance suites: what policies, networks and agents owe to their callers, as pytest classes to inherit from.

    from distpolicy.testing import TFPolicyConformance

    class TestMyPolicy(TFPolicyConformance):
        def make_policy(self):
            return MyPolicy(time_step_spec, action_spec)

pytest collects the inherited tests. A policy that fails one will fail in a collector, a checkpoint or a served model.
"""

from distpolicy.testing.data import assert_nests_close, random_time_step
from distpolicy.testing.off_policy_agent import OffPolicyAgentConformance
from distpolicy.testing.py_policy import PyPolicyConformance
from distpolicy.testing.recurrent_network import RecurrentNetworkConformance
from distpolicy.testing.tf_agent import TFAgentConformance
from distpolicy.testing.tf_policy import TFPolicyConformance

__all__ = [
    "OffPolicyAgentConformance",
    "PyPolicyConformance",
    "RecurrentNetworkConformance",
    "TFAgentConformance",
    "TFPolicyConformance",
    "assert_nests_close",
    "random_time_step",
]
