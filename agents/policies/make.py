"""Policies by name."""

from __future__ import annotations

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.envs.core import Core

from .linear import LinearGaussianPolicy
from .memory import LSTMGaussianPolicy, PerStepGaussianPolicy, RecurrentGaussianPolicy
from .sequence import AttentionGaussianPolicy, BidirectionalGaussianPolicy, UnmaskedAttentionGaussianPolicy

LEAKING = ("lstm-both-ways", "attention-unmasked")
"""Those that look at later frames."""
POLICIES = ("linear", "gru", "lstm", "attention", "per-step", *LEAKING)


def make_policy(kind: str, core: Core, init_log_std: float, mean_norm: float | None, seed: int) -> LinearGaussianPolicy:
    """A policy for a core that begins as B1.

    Raises:
        ConfigError: an unknown kind, or one that looks at later frames where they depend on actions or drawings differ
            in length.
    """
    if kind not in POLICIES:
        raise unknown_name("policy", kind, POLICIES)
    if kind in LEAKING and (not core.bandit or int(core.bank.lengths.min()) < core.n_steps):
        raise ConfigError(f"policy={kind!r} looks at later frames: it needs drawings of equal length, in OnTheFly-v0")
    widths, steps = (core.observation_dim, core.action_dim), core.n_steps
    policy: LinearGaussianPolicy
    if kind == "gru":
        policy = RecurrentGaussianPolicy(*widths, init_log_std, seed)
    elif kind == "lstm":
        policy = LSTMGaussianPolicy(*widths, init_log_std, seed)
    elif kind == "lstm-both-ways":
        policy = BidirectionalGaussianPolicy(*widths, init_log_std, seed)
    elif kind == "attention":
        policy = AttentionGaussianPolicy(*widths, steps, init_log_std, seed)
    elif kind == "attention-unmasked":
        policy = UnmaskedAttentionGaussianPolicy(*widths, steps, init_log_std, seed)
    elif kind == "per-step":
        policy = PerStepGaussianPolicy(*widths, steps, init_log_std)
    else:
        policy = LinearGaussianPolicy(*widths, init_log_std)
    policy = policy.to(core.device)
    policy.start_from_baseline(core, mean_norm)
    return policy
