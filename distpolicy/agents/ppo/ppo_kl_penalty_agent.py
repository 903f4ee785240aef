"""PPOKLPenaltyAgent: PPO that penalises the divergence of the policy, with TF-Agents' arguments."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.agents.ppo.ppo_agent import PPOAgent
from distpolicy.networks.network import Network
from distpolicy.policies.masks import Splitter
from distpolicy.trajectories.time_step import TimeStep


class PPOKLPenaltyAgent(PPOAgent):
    """A :class:`PPOAgent` without a bound of the probability ratio; it has the same arguments, but for this."""

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        actor_net: Network,
        value_net: Network,
        num_epochs: int,
        initial_adaptive_kl_beta: float,
        adaptive_kl_target: float,
        adaptive_kl_tolerance: float,
        optimizer: Any = None,
        use_gae: bool = True,
        use_td_lambda_return: bool = True,
        lambda_value: float = 0.95,
        discount_factor: float = 0.99,
        value_pred_loss_coef: float = 0.5,
        entropy_regularization: float = 0.0,
        policy_l2_reg: float = 0.0,
        value_function_l2_reg: float = 0.0,
        shared_vars_l2_reg: float = 0.0,
        normalize_observations: bool = False,
        normalize_rewards: bool = True,
        reward_norm_clipping: float = 0.0,
        log_prob_clipping: float = 0.0,
        gradient_clipping: float | None = None,
        value_clipping: float | None = None,
        kl_cutoff_coef: float = 0.0,
        kl_cutoff_factor: float | None = None,
        check_numerics: bool = False,
        debug_summaries: bool = False,
        compute_value_and_advantage_in_train: bool = True,
        update_normalizers_in_train: bool = True,
        aggregate_losses_across_replicas: bool = True,
        summarize_grads_and_vars: bool = False,
        train_step_counter: tf.Variable | None = None,
        name: str | None = None,
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
            lambda_value=lambda_value,
            discount_factor=discount_factor,
            entropy_regularization=entropy_regularization,
            policy_l2_reg=policy_l2_reg,
            value_function_l2_reg=value_function_l2_reg,
            shared_vars_l2_reg=shared_vars_l2_reg,
            value_pred_loss_coef=value_pred_loss_coef,
            num_epochs=num_epochs,
            use_gae=use_gae,
            use_td_lambda_return=use_td_lambda_return,
            normalize_rewards=normalize_rewards,
            reward_norm_clipping=reward_norm_clipping,
            normalize_observations=normalize_observations,
            log_prob_clipping=log_prob_clipping,
            kl_cutoff_factor=kl_cutoff_factor or 0.0,
            kl_cutoff_coef=kl_cutoff_coef,
            initial_adaptive_kl_beta=initial_adaptive_kl_beta,
            adaptive_kl_target=adaptive_kl_target,
            adaptive_kl_tolerance=adaptive_kl_tolerance,
            gradient_clipping=gradient_clipping,
            value_clipping=value_clipping,
            check_numerics=check_numerics,
            compute_value_and_advantage_in_train=compute_value_and_advantage_in_train,
            update_normalizers_in_train=update_normalizers_in_train,
            train_step_counter=train_step_counter,
            name=name or "PPOKLPenaltyAgent",
            jit_compile=jit_compile,
            observation_and_action_constraint_splitter=observation_and_action_constraint_splitter,
        )
