"""What is compared: the arms of each ablation, and the budget they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sketchless.agents import agent_class
from sketchless.datasets.errors import unknown_name

from ..cells import Cell

EXPERIMENT = "sketchless.benchmarks.ablation.experiment:run"


@dataclass(frozen=True)
class Arm:
    """One of the things compared.

    `settings` are those of the cell (`agent reward mode observation scale gamma2 tau_normalized frames photos drawings
    width split`); `set` those of the agent that differ from its preset; `needs` those that the grid must have been
    given, else the arm is left out, and that no other arm gets.
    """

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """An ablation: arms by name, one of which the others are compared with."""

    title: str
    arms: Mapping[str, Arm]
    reference: str
    family: str
    published: str | None = None


def _method(name: str, label: str) -> Arm:
    return Arm(label, {"agent": name})


METHODS = Sweep(
    "Which RL method?",
    {
        "vpg": _method("vpg", "VPG"),
        "ppo-ac-clip": _method("ppo-ac-clip", "PPO-AC-Clipping"),
        "ppo-ac-kl": _method("ppo-ac-kl", "PPO-AC-KL"),
        "ppo-a-kl": _method("ppo-a-kl", "PPO-A-KL"),
        "trpo": _method("trpo", "TRPO"),
        "ppo-a-clip": _method("ppo-a-clip", "PPO-A-Clipping"),
        "grpo": _method("grpo", "GRPO"),
        "rank-softmax": _method("rank-softmax", "rank-softmax (no RL)"),
    },
    "ppo-a-clip",
    "each method against PPO-A-Clipping, in m@B",
    "methods",
)

REWARDS = Sweep(
    "Which reward?",
    {
        "top1": Arm("rank <= 1", {"reward": "top1"}),
        "top5": Arm("rank <= 5", {"reward": "top5"}),
        "top10": Arm("rank <= 10", {"reward": "top10"}),
        "neg-rank": Arm("-rank", {"reward": "neg-rank"}),
        "inv-sqrt-rank": Arm("1/sqrt(rank)", {"reward": "inv-sqrt-rank"}),
        "inv-rank": Arm("1/rank", {"reward": "inv-rank"}),
        "combined": Arm("Eq. 4 (local + global)", {"reward": "combined"}),
    },
    "combined",
    "each reward against Eq. 4, in m@B",
    "rewards",
)

DESIGN = Sweep(
    "Which design?",
    {
        "default": Arm("default"),
        "absolute": Arm("absolute actions", {"mode": "absolute"}),
        "embedding": Arm("observes the embedding", {"observation": "embedding"}),
        "half-scale": Arm("scale 0.5", {"scale": 0.5}),
        "sigma-small": Arm("sigma e^-3", set={"init_log_std": -3.0}),
        "sigma-large": Arm("sigma e^-1", set={"init_log_std": -1.0}),
        "sigma-fixed": Arm("sigma fixed", set={"train_log_std": False}),
        "flat-reward": Arm("A = R (paper)", set={"advantage": "reward"}),
        "batch-mean": Arm("A = R - batch mean", set={"advantage": "batch-mean"}),
        "samples-4": Arm("K = 4", set={"samples": 4}),
        "samples-64": Arm("K = 64", set={"samples": 64}),
        "memory": Arm("GRU memory", set={"policy": "gru"}),
        "gamma2-large": Arm("gamma2 = 1", {"gamma2": 1.0}),
        "tau-counts": Arm("tau as pair counts", {"tau_normalized": False}),
        "frames-2nd": Arm("T / 2: trains on every 2nd frame", {"frames": 2}),
        "frames-4th": Arm("T / 4: trains on every 4th frame", {"frames": 4}),
        "width-half": Arm("d / 2 (another B1)", {"width": 0.5}),
        "width-quarter": Arm("d / 4 (another B1)", {"width": 0.25}),
        "photos": Arm("trains on 40 % of the photos", {"photos": 0.4}),
        "drawings": Arm("the same drawings, all photos", {"drawings": 0.4}),
        "noise": Arm("trains with noise strokes", needs=("noisy_bank", "noisy_bank_sha256")),
    },
    "default",
    "each variant against the default, in m@B",
)

RATES = (3e-4, 1e-3, 3e-3, 1e-2)


def _tuning() -> dict[str, Arm]:
    """Every method with every step size, measured on validation: equally many choices for each."""
    arms = {}
    for name, arm in METHODS.arms.items():
        for rate in RATES:
            step = {"target_kl": 30 * rate} if name == "trpo" else {"learning_rate": rate}
            arms[f"{name}-{rate:g}"] = Arm(f"{arm.label}, {rate:g}", {**arm.settings, "split": "validation"}, step)
    return arms


TUNING = Sweep(
    "Which step size? (measured on validation)",
    _tuning(),
    "ppo-a-clip-0.001",
    "each choice against PPO-A-Clipping at 0.001, in m@B of validation",
)

SWEEPS = {"methods": METHODS, "rewards": REWARDS, "design": DESIGN, "tuning": TUNING}


def cells(name: str, common: Mapping[str, Any], seeds: list[int], overrides: Mapping[str, Any]) -> list[Cell]:
    """The grid of an ablation, seed by seed so that all arms grow together.

    Args:
        name: a key of `SWEEPS`.
        common: settings that all cells have, an arm's own come first; and what some arms need, left out without.
        seeds: of the repetitions.
        overrides: settings of the agent for all arms; an arm's own come first.

    Raises:
        ConfigError: an unknown ablation, agent or setting.
    """
    if name not in SWEEPS:
        raise unknown_name("ablation", name, SWEEPS)
    grid = []
    optional = {setting for arm in SWEEPS[name].arms.values() for setting in arm.needs}
    for seed in seeds:
        for arm_name, arm in SWEEPS[name].arms.items():
            if set(arm.needs) - set(common):
                continue
            shared = {setting: value for setting, value in common.items() if setting not in optional - set(arm.needs)}
            settings = {**shared, **arm.settings, "seed": seed}
            settings["set"] = _known(settings["agent"], {**overrides, **arm.set})
            grid.append(Cell(f"{name}/{arm_name}/seed-{seed}", EXPERIMENT, settings))
    return grid


def _known(agent: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides that this agent has: a grid's agents do not share all settings."""
    names = agent_class(agent).Config.__dataclass_fields__
    return {name: value for name, value in overrides.items() if name in names}
