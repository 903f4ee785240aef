"""PPOClipAgent: PPO that bounds the probability ratio, with TF-Agents' arguments."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.ppo.ppo_agent import PPOAgent
from distpolicy.networks.network import Network
from distpolicy.policies.masks import Splitter
from distpolicy.trajectories.time_step import TimeStep


class PPOClipAgent(PPOAgent):
    """A :class:`PPOAgent` without a penalty of the divergence; it has the same arguments, but for this."""

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        optimizer: Any = None,
        actor_net: Network | None = None,
        value_net: Network | None = None,
        greedy_eval: bool = True,
        importance_ratio_clipping: float = 0.0,
        lambda_value: float = 0.95,
        discount_factor: float = 0.99,
        entropy_regularization: float = 0.0,
        policy_l2_reg: float = 0.0,
        value_function_l2_reg: float = 0.0,
        shared_vars_l2_reg: float = 0.0,
        value_pred_loss_coef: float = 0.5,
        num_epochs: int = 25,
        use_gae: bool = False,
        use_td_lambda_return: bool = False,
        normalize_rewards: bool = True,
        reward_norm_clipping: float = 10.0,
        normalize_observations: bool = True,
        log_prob_clipping: float = 0.0,
        gradient_clipping: float | None = None,
        value_clipping: float | None = None,
        check_numerics: bool = False,
        compute_value_and_advantage_in_train: bool = True,
        update_normalizers_in_train: bool = True,
        aggregate_losses_across_replicas: bool = True,
        debug_summaries: bool = False,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = "PPOClipAgent",
        *,
        jit_compile: bool = False,
        observation_and_action_constraint_splitter: Splitter = None,
    ) -> None:
        super().__init__(
            time_step_spec,
            action_spec,
            optimizer,
            actor_net,
            value_net,
            greedy_eval,
            importance_ratio_clipping,
            lambda_value,
            discount_factor,
            entropy_regularization,
            policy_l2_reg,
            value_function_l2_reg,
            shared_vars_l2_reg,
            value_pred_loss_coef,
            num_epochs,
            use_gae,
            use_td_lambda_return,
            normalize_rewards,
            reward_norm_clipping,
            normalize_observations,
            log_prob_clipping,
            kl_cutoff_factor=0.0,
            kl_cutoff_coef=0.0,
            initial_adaptive_kl_beta=0.0,
            gradient_clipping=gradient_clipping,
            value_clipping=value_clipping,
            check_numerics=check_numerics,
            compute_value_and_advantage_in_train=compute_value_and_advantage_in_train,
            update_normalizers_in_train=update_normalizers_in_train,
            train_step_counter=train_step_counter,
            name=name,
            jit_compile=jit_compile,
            observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
        )
