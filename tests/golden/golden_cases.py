"""All golden cases: importing the modules that hold them registers them."""

from __future__ import annotations

import golden_cases_actor
import golden_cases_distributions
import golden_cases_driver
import golden_cases_environments
import golden_cases_nests
import golden_cases_networks
import golden_cases_normalizer
import golden_cases_policies
import golden_cases_py_policies
import golden_cases_q_policies
import golden_cases_recurrent
import golden_cases_specs
import golden_cases_tf_policy
import golden_cases_time_steps
import golden_cases_trajectories
import golden_cases_update
import golden_cases_utilities
from golden_registry import CASES

CASE_MODULES = (
    golden_cases_actor,
    golden_cases_distributions,
    golden_cases_driver,
    golden_cases_environments,
    golden_cases_nests,
    golden_cases_networks,
    golden_cases_normalizer,
    golden_cases_policies,
    golden_cases_py_policies,
    golden_cases_q_policies,
    golden_cases_recurrent,
    golden_cases_specs,
    golden_cases_tf_policy,
    golden_cases_time_steps,
    golden_cases_trajectories,
    golden_cases_update,
    golden_cases_utilities,
)

__all__ = ["CASES", "CASE_MODULES"]
