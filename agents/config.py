"""Settings that all agents have."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.envs.core import CREDITS

from .choice import CHOICES
from .policies.make import POLICIES
from .settings import check_types

ADVANTAGES = ("reward", "batch-mean", "group")
SCHEDULES = ("constant", "linear", "cosine", "step")
_KNOWN = {"advantage": ADVANTAGES, "lr_schedule": SCHEDULES, "credit": CREDITS, "policy": POLICIES, "choice": CHOICES}

MAX_VALUE, MAX_SEED = 1e9, 2**63 - 1  # of a setting


@dataclass(frozen=True)
class AgentConfig:
    """Settings that all agents have."""

    learning_rate: float | None = 1e-3
    """Step size of Adam to begin with. `None`, the default of vpg, ppo-a-clip and grpo: 0.1 / sqrt(D) for agents that
    observe D numbers; 1e-3 where actions change what follows (Carry, Stop)."""
    lr_schedule: str = "cosine"
    """`constant`, `linear` or `cosine` decay to 0 over the whole budget, or `step`: a tenth in its second half."""
    episodes: int = 16
    """Drawings per update."""
    samples: int = 16
    """K actions drawn in every state; with `group` they are each other's baseline."""
    advantage: str = "group"
    """`reward`: A = R (the paper); `batch-mean`: A = R - mean over the batch; `group`: A = R - mean over the K
    samples of the same state. Agents with a critic use that instead."""
    normalize_advantage: bool = True
    """Divide advantages by their standard deviation over the batch."""
    credit: str = "aligned"
    """Which step is paid the trajectory part g_t of the reward: `aligned`: step t; `online`: step t+1; `summed`: a step
    is paid all terms that its action moves, g_{t-1} + g_t + g_{t+1}, which gives the exact gradient of their sum."""
    gamma: float | None = None
    """Discount of what later steps pay. `None`: 0 where no action changes what follows (OnTheFly, Strokes), else 1."""
    policy: str = "linear"
    """`linear` (the paper's), `gru` or `lstm`: with a memory of the strokes so far, `attention`: to the frames so far,
    or `per-step`: one linear layer per step. `lstm-both-ways` and `attention-unmasked` look at later frames: they
    cannot act while a person draws, and are measured by `sketchless ablate leak` alone."""
    init_log_std: float = -2.0
    """Log sigma to begin with. In 64 dimensions e^-2 gives noise about as long as the embedding, which has
    length 1."""
    train_log_std: bool = True
    """Whether sigma is trained too."""
    mean_norm: float | None = 1.0
    """Length of the mean action to begin with, in absolute mode; none: the head as stage 1 left it."""
    weight_decay: float = 0.0
    """Pull of the weights towards where they began (the frozen head)."""
    b1_penalty: float = 0.0
    """Weight of `|e_T - b_T|^2` in the loss: how far the refined embedding of a complete sketch is from that of B1,
    which was trained on complete ones. Default presets of policy gradients have 1. Without effect where actions change
    what follows (Carry, Stop)."""
    max_grad_norm: float = 40.0
    """Longer gradients are scaled down to this length."""
    eval_every: int = 25
    """Updates between two evaluations on the validation drawings."""
    patience: int = 0
    """Stop after so many evaluations without a better validation m@B; 0 uses the whole budget."""
    choice: str = "best"
    """Which policy is kept of those that validated better than all before them. `best`: the one with the highest m@B.
    `one-se`: the earliest that is at most one standard error below it, of their difference over validation photos;
    the agent and its file then hold every policy that may still be kept."""
    seed: int = 0
    """Of the weights, the drawings and the actions."""

    def __post_init__(self) -> None:
        check_types(self)
        for name, known in _KNOWN.items():
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for name in ("learning_rate", "episodes", "samples", "max_grad_norm", "eval_every", *self._positive):
            if getattr(self, name) is not None and not 0 < getattr(self, name) <= MAX_VALUE:
                raise ConfigError(f"{name}={getattr(self, name)}: must be a number above 0, {MAX_VALUE:.0e} at most")
        for name in ("weight_decay", "b1_penalty", "patience", "seed", *self._not_negative):
            most = MAX_SEED if name == "seed" else MAX_VALUE
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name}={getattr(self, name)}: must be a number of 0 or more, {most:.3g} at most")
        for f in fields(self):
            if f.name in self._unread and getattr(self, f.name) != f.default:
                raise ConfigError(f"{f.name}={getattr(self, f.name)}: this agent does not read it; leave it out")
        if self.advantage == "group" and "advantage" not in self._unread and self.samples < 2:
            raise ConfigError("samples=1: the group advantage needs two samples of a state or more")
        if self.mean_norm is not None and not 0 < self.mean_norm <= MAX_VALUE:
            raise ConfigError(f"mean_norm={self.mean_norm}: must be a number above 0, {MAX_VALUE:.0e} at most, or None")
        self._check_gamma()
        if not -MAX_VALUE <= self.init_log_std <= MAX_VALUE:
            raise ConfigError(f"init_log_std={self.init_log_std}: must be finite, {MAX_VALUE:.0e} at most")

    def _check_gamma(self) -> None:
        if self.gamma is not None and not 0 <= self.gamma <= 1:
            raise ConfigError(f"gamma={self.gamma}: must lie in 0..1, or be None")
        if self.gamma is not None:
            self.discount(bandit=True)

    def discount(self, bandit: bool) -> float:
        """Discount of what later steps pay, where no action changes what follows (`bandit`), or where one does.

        Raises:
            ConfigError: above 0 with `summed` credit.
        """
        found = float(not bandit) if self.gamma is None else self.gamma
        if self.credit == "summed" and found:
            raise ConfigError(f"credit='summed' with gamma={found:g}: each term would count thrice; set gamma to 0")
        return float(found)

    _positive: ClassVar[tuple[str, ...]] = ()  # further settings that must be above 0
    _not_negative: ClassVar[tuple[str, ...]] = ()  # ... that must be 0 or more
    _unread: ClassVar[tuple[str, ...]] = ()  # settings without effect on this agent: they stay as they are


def step_size(width: int, bandit: bool = True) -> float:
    """Of Adam, for a policy that observes `width` numbers; `bandit`: no action changes what follows.

    Adam moves every weight by about the step size (Kingma and Ba, 2015, section 2.1). On a feature x of length 1 the
    mean action moves by that times |x|_1, which is sqrt(D) at most: with this rule the bound is one for all widths.
    """
    # Validation chose 3e-3 for D = 1280 (MobileNetV2 on Chair-V2) and 1e-2 for D = 128 (the sets that ship), but 1e-3
    # in Carry-v0.
    return 0.1 / math.sqrt(width) if bandit else 1e-3


def decay(schedule: str, share: float) -> float:
    """Factor of the learning rate, 1 to 0, after a share of the budget."""
    if schedule == "linear":
        return max(1 - share, 0.0)
    if schedule == "step":
        return 1.0 if share < 0.5 else 0.1
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0))) if schedule == "cosine" else 1.0
