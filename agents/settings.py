"""Settings of the type that their field declares, wherever they come from: keywords, a command line, a file."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from sketchless.datasets.errors import ConfigError

C = TypeVar("C")
SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "alpha", "step_size", "rate", "stepsize"), ("learning_rate",)),
    **dict.fromkeys(("batch", "batch_size", "minibatch", "n_steps", "num_envs", "n_envs"), ("episodes",)),
    **dict.fromkeys(("k", "group_size", "num_samples", "n_samples", "num_generations"), ("samples",)),
    **dict.fromkeys(("n_epochs", "num_epochs", "update_epochs", "ppo_epochs", "k_epochs"), ("epochs",)),
    **dict.fromkeys(("clip_range", "clip_coef", "clip_ratio", "epsilon", "eps", "clip_param"), ("clip",)),
    **dict.fromkeys(("ent_coef", "entropy", "entropy_coef", "sigma", "std", "log_std"), ("init_log_std",)),
    **dict.fromkeys(("log_std_init", "noise", "exploration"), ("init_log_std",)),
    **dict.fromkeys(("kl", "max_kl", "delta", "kl_target", "desired_kl"), ("target_kl",)),
    **dict.fromkeys(("kl_coef", "kl_weight", "beta_init"), ("init_beta", "beta")),
    **dict.fromkeys(("vf_coef", "value_coef", "critic_coef"), ("value_weight",)),
    **dict.fromkeys(("lam", "lambda", "gae"), ("gae_lambda",)),
    **dict.fromkeys(("discount",), ("gamma",)),
    **dict.fromkeys(("net_arch", "hidden", "hidden_sizes", "vf", "value_net"), ("critic",)),
    **dict.fromkeys(("damping",), ("cg_damping",)),
    **dict.fromkeys(("grad_clip", "clip_grad", "max_norm", "gradient_clip"), ("max_grad_norm",)),
    **dict.fromkeys(("l2", "wd", "decay"), ("weight_decay",)),
    **dict.fromkeys(("anchor", "penalty", "kl_to_baseline", "ref_penalty"), ("b1_penalty",)),
    **dict.fromkeys(("schedule", "scheduler", "lr_scheduler", "anneal_lr"), ("lr_schedule",)),
    **dict.fromkeys(("baseline", "estimator"), ("advantage",)),
    **dict.fromkeys(("norm_adv", "standardize_advantage"), ("normalize_advantage",)),
    **dict.fromkeys(("early_stopping", "early_stop"), ("patience",)),
    **dict.fromkeys(("selection", "model_selection", "keep", "select"), ("choice",)),
    **dict.fromkeys(("eval_freq", "eval_interval", "evaluate_every"), ("eval_every",)),
    **dict.fromkeys(("network", "model", "net", "arch"), ("policy",)),
    **dict.fromkeys(("temp", "tau"), ("temperature",)),
}
"""What other libraries call a setting -> what it, or the nearest to it, is called here."""


def from_file(kind: type[C], values: Mapping[str, Any]) -> C:
    """Settings out of a file. Raises ValueError for unknown ones; ConfigError for those that the agent refuses."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    for name in values:
        if name not in known:
            raise ValueError(f"has the setting {name[:50]!r}, unknown here; it is of another version")
    return kind(**values)


def check_types(config: Any) -> None:
    """Compare every field of a dataclass with its annotation. A whole number will do for a float, a list for a tuple.

    Raises:
        ConfigError: a value of another type.
    """
    # An agent's script may be no module, whose names could be looked up.
    hints = get_type_hints(type(config), localns=vars(typing))
    for setting in fields(config):
        value = getattr(config, setting.name)
        if not _fits(value, hints[setting.name]):
            raise ConfigError(
                f"{setting.name}={repr(value)[:100]}: want type {getattr(setting.type, '__name__', setting.type)}"
            )
        if isinstance(value, list) and get_origin(hints[setting.name]) is tuple:  # JSON knows no tuples
            object.__setattr__(config, setting.name, tuple(value))


def _fits(value: Any, wanted: Any) -> bool:
    kind, parts = get_origin(wanted) or wanted, get_args(wanted)
    if kind in (Union, types.UnionType):
        return any(_fits(value, one) for one in parts)
    if kind is tuple and parts[1:] == (...,):
        return isinstance(value, list | tuple) and all(_fits(one, parts[0]) for one in value)
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float)
    return not isinstance(kind, type) or isinstance(value, kind)
