"""Actor-only policy gradients: VPG, PPO with a clip or a KL penalty, GRPO."""
