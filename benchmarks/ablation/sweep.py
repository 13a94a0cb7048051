"""What is compared: the arms of each ablation, and the budget they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sketchless.agents import AGENTS, PPOAClip, agent_class
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.plugins import installed
from sketchless.envs import REWARDS as SCHEMES
from sketchless.envs import make_reward

from ..runs import first_of_each
from .cells import Cell
from .knobs import KNOBS, REMARKS, settings_of, told

FEATURES = {
    "complete": "an encoder trained on complete sketches",
    "random": "an encoder trained on random frames",
    "completed": "frames that were completed before encoding",
    "sketch-a-net": "Sketch-a-Net trained on complete sketches",
}
"""The kinds of banks that an ablation can stand on."""

EXPERIMENT = "sketchless.benchmarks.ablation.experiment:run"


@dataclass(frozen=True)
class Arm:
    """One of the things compared.

    `settings` are those of the cell (`agent reward mode observation scale gamma2 tau_normalized frames photos drawings
    width split`); `set` those of the agent that differ from its preset; `needs` those that the grid must have been
    given, else the arm is left out, and that no other arm gets. `features` say on which banks it stands, of `FEATURES`;
    `published` beside which line of the paper's table, by default that of its own name; "": beside none. `budget` is
    in budgets of the other arms.
    """

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    features: str = "complete"
    published: str | None = None
    needs: tuple[str, ...] = ()
    budget: float = 1.0
    named: bool = False
    """Whether it is run only where `--arms` names it."""
    ahead: bool = False
    """Whether it makes sense only where actions change what comes after."""
    leaks: bool = False
    """Whether its policy looks at later frames, which its label then says; no other arm's may."""

    @property
    def trains(self) -> bool:
        """Whether it has anything to train; otherwise all its seeds on one bank would be the same."""
        return self.settings.get("agent") != "b1"


@dataclass(frozen=True)
class Sweep:
    """An ablation: arms by name, one of which the others are compared with."""

    title: str
    arms: Mapping[str, Arm]
    reference: str
    family: str
    published: str | None = None
    remarks: tuple[str, ...] = ()
    """What a reader of the table must know, in sentences."""
    compares: str | None = None
    """The setting by which arms differ, `agent` or `reward`: any other agent or reward may be an arm too."""
    tuned: bool = False
    """Whether there is an arm for every step size."""
    setting_of: Mapping[str, str] = field(default_factory=dict)
    """Arm -> the method of which it is one of the settings, in words, where one of each is to be chosen."""

    def published_as(self, arms: Sequence[str]) -> dict[str, str]:
        """Line of the paper's table, for arms that have not that of their own name; "": none.

        The paper's values stand beside its own form of an arm, where that is in the grid.
        """
        said = {name: self.arms[name].published for name in arms}
        forms = set(said.values())
        return {name: line or "" for name, line in said.items() if line is not None or name in forms}

    def joined(self, names: Sequence[str]) -> tuple[Sweep, list[str]]:
        """This sweep with the agents or rewards that it lacks as further arms, and the arms that `names` name.

        Raises:
            ConfigError: a name that is neither an arm nor an agent or reward, or that cannot be imported.
        """
        further: dict[str, Arm] = {}
        chosen: list[str] = []
        for name in names:
            if name in self.arms:
                chosen.append(name)
                continue
            if settings := self._settings_of(name):
                chosen += settings
                continue
            known = names_of(self.compares) if self.compares else KNOBS if self.setting_of else []
            if self.compares is None or (":" not in name and name not in known):
                raise unknown_name("arm", name, [*self.arms, *known])
            agent_class(name) if self.compares == "agent" else make_reward(name)  # raises what is wrong with it
            arm = Arm(name, {self.compares: name})
            new = _with_rates(name, arm) if self.tuned else {name: arm}
            if not new:
                raise ConfigError(f"arm {name!r}: has nothing to train, and so no step size; leave it out")
            further |= {arm_name: one for arm_name, one in new.items() if arm_name not in self.arms}
            chosen += new
        return replace(self, arms={**self.arms, **further}), chosen

    def _settings_of(self, name: str) -> list[str]:
        """The arms that a name stands for which is none itself: all settings of a method, or step sizes of an arm."""
        if self.tuned:
            return [arm for rate in RATES if (arm := _rated(name, rate)) in self.arms]
        return [arm for arm in self.setting_of if self.arms[arm].settings["agent"] == name]


def names_of(kind: str) -> list[str]:
    """Agents or rewards by name: built in, then those of installed packages."""
    return [*(AGENTS if kind == "agent" else SCHEMES), *installed(kind)]


def _method(name: str, label: str, published: str | None = None) -> Arm:
    return Arm(label, {"agent": name}, published=published)


def _flat(name: str, label: str) -> Arm:
    """The published form of a method without a critic: the reward itself is the advantage."""
    return Arm(f"{label}, A = R", {"agent": name}, {"advantage": "reward"}, published=name)


def _to_the_letter() -> Arm:
    """PPO-A-Clipping with the paper's settings and budget, 2,000 epochs where `full` has 5 of 16 samples each."""
    ours, paper = PPOAClip.presets["default"], asdict(PPOAClip.presets["paper"])
    differ = {name: value for name, value in paper.items() if value != getattr(ours, name)}
    settings = {"agent": "ppo-a-clip", "mode": PPOAClip.modes["paper"]}
    return Arm("PPO-A-Clipping, to the letter", settings, differ, published="ppo-a-clip", budget=25.0, named=True)


METHODS = Sweep(
    "Which RL method?",
    {
        "vpg": _method("vpg", "VPG, K = 16", ""),
        "vpg-flat": _flat("vpg", "VPG"),
        "ppo-ac-clip": _method("ppo-ac-clip", "PPO-AC-Clipping"),
        "ppo-ac-kl": _method("ppo-ac-kl", "PPO-AC-KL"),
        "ppo-a-kl": _method("ppo-a-kl", "PPO-A-KL, K = 16", ""),
        "ppo-a-kl-flat": _flat("ppo-a-kl", "PPO-A-KL"),
        "trpo": _method("trpo", "TRPO"),
        "ppo-a-clip": _method("ppo-a-clip", "PPO-A-Clipping, K = 16", ""),
        "ppo-a-clip-b1-penalty": Arm(
            "PPO-A-Clipping, K = 16, B1 penalty 1", {"agent": "ppo-a-clip"}, {"b1_penalty": 1.0}, published=""
        ),
        "ppo-a-clip-flat": _flat("ppo-a-clip", "PPO-A-Clipping"),
        "ppo-a-clip-paper": _to_the_letter(),
        "grpo": _method("grpo", "GRPO"),
        "rank-softmax": _method("rank-softmax", "rank-softmax (no RL)"),
        "gru": Arm("PPO-A-Clipping, GRU", {"agent": "ppo-a-clip"}, {"policy": "gru"}, ahead=True),
        "per-step": Arm("PPO-A-Clipping, a head per step", {"agent": "ppo-a-clip"}, {"policy": "per-step"}, ahead=True),
        "gamma-0": Arm("PPO-A-Clipping, discount 0", {"agent": "ppo-a-clip"}, {"gamma": 0.0}, ahead=True),
    },
    "ppo-a-clip",
    "each method against PPO-A-Clipping, K = 16, in m@B",
    "methods",
    (
        "K = 16: the mean reward of the 16 samples of a state is their baseline, a form of our own; A = R: the reward "
        "itself is the advantage, as published; here divided by its deviation over the batch, which has 16 samples a "
        "state too.",
    ),
    compares="agent",
)

_PUBLISHED = {
    "top1": Arm("rank <= 1", {"reward": "top1"}),
    "top5": Arm("rank <= 5", {"reward": "top5"}),
    "top10": Arm("rank <= 10", {"reward": "top10"}),
    "neg-rank": Arm("-rank", {"reward": "neg-rank"}),
    "inv-sqrt-rank": Arm("1/sqrt(rank)", {"reward": "inv-sqrt-rank"}),
    "inv-rank": Arm("1/rank", {"reward": "inv-rank"}),
    "combined": Arm("Eq. 4 (local + global)", {"reward": "combined"}),
}
"""The paper's rewards."""

REWARDS = Sweep(
    "Which reward?",
    {
        **_PUBLISHED,
        **{
            f"{name}-flat": Arm(
                f"{arm.label}, A = R", arm.settings, {"advantage": "reward"}, published=name, named=True
            )
            for name, arm in _PUBLISHED.items()
        },
        "self-competitive": Arm("rank <= best so far (DARP)", {"reward": "self-competitive"}),
        "rank-gain": Arm("gain in rank", {"reward": "rank-gain"}),
        "early": Arm("exp(-t/T)/rank", {"reward": "early"}),
        "margin": Arm("margin of similarity", {"reward": "margin"}),
        "percentile": Arm("percentile", {"reward": "percentile"}),
    },
    "combined",
    "each reward against Eq. 4, in m@B",
    "rewards",
    compares="reward",
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
        "gamma2-ten": Arm("gamma2 = 10", {"gamma2": 10.0}),
        "gamma2-ten-summed": Arm("gamma2 = 10, summed credit", {"gamma2": 10.0}, {"credit": "summed"}),
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
    remarks=(
        "Where no step size is set, an arm has the default for what it observes: 0.1 / sqrt(D) on features, and on "
        "embeddings 0.1 / sqrt(d).",
    ),
)


def _cost(cost: float) -> Arm:
    settings = {"env": f"sketchless/Stop-v0?stroke_cost={cost}&scale=0.1", "reward": "inv-rank", "mode": "residual"}
    return Arm(f"a stroke costs {100 * cost:g}", settings)


COSTS = Sweep(
    "When to show, as strokes cost more?",
    {f"cost-{cost}": _cost(cost) for cost in (0.005, 0.01, 0.02, 0.03, 0.05)},
    "cost-0.02",
    "each cost against 0.02, in m@B",
    remarks=("Returns at different costs are not compared with each other, but each with rivals at that cost.",),
)

_LEAKS = "sees later frames"


def _softmax(label: str, policy: str, leaks: bool = False) -> Arm:
    label = f"{label} ({_LEAKS})" if leaks else label
    return Arm(label, {"agent": "rank-softmax"}, {"policy": policy}, leaks=leaks)


LEAK = Sweep(
    "What is a look at later frames worth?",
    {
        "linear": _softmax("linear", "linear"),
        "per-step": _softmax("a head per step", "per-step"),
        "mgal": Arm("a head per step, pulled to the next (MGAL)", {"agent": "mgal"}),
        "lstm": _softmax("LSTM, forward", "lstm"),
        "lstm-both-ways": _softmax("LSTM, both ways", "lstm-both-ways", leaks=True),
        "attention": _softmax("attention, masked", "attention"),
        "attention-unmasked": _softmax("attention, not masked", "attention-unmasked", leaks=True),
    },
    "linear",
    "each policy against the linear one",
    remarks=(
        f"All learn by the softmax loss over the gallery. Those marked '{_LEAKS}' have no answer before the drawing is "
        "complete, and are measured on complete drawings all the same: they are no methods of on-the-fly retrieval.",
    ),
)

_TRIPLET: dict[str, Any] = {"agent": "frame-triplet"}
_SODEEP: dict[str, Any] = {"agent": "sodeep"}

BASELINES = Sweep(
    "The paper's baselines",
    {
        "b1": Arm("B1: complete sketches", {"agent": "b1"}, published="B1"),
        "b1-sketch-a-net": Arm("B1: Sketch-a-Net", {"agent": "b1"}, {}, "sketch-a-net", "B1"),
        "b2": Arm("B2: backbone on random frames", {"agent": "b1"}, {}, "random", "B2"),
        "b2-head": Arm("B2: head on all frames", _TRIPLET, published="B2"),
        "b3": Arm("B3: a head per percentage", _TRIPLET, {"policy": "per-step"}, published="B3"),
        "b4-sorter": Arm("B4: SoDeep, trained sorter", _SODEEP, {"sorter": "lstm"}, published="B4"),
        "b4-sigmoid": Arm("B4: SoDeep, sigmoid ranks", _SODEEP, published="B4"),
        "ts": Arm("TS: complete, then retrieve", {"agent": "b1"}, {}, "completed", "TS"),
        "rank-softmax": Arm("rank-softmax on B1", {"agent": "rank-softmax"}),
        "refined": Arm("refined: PPO-A-Clipping, K = 16, on B1", {"agent": "ppo-a-clip"}),
        "refined-paper": replace(_to_the_letter(), label="refined: PPO-A-Clipping, to the letter", published="ours"),
        "refined-b1-penalty": Arm(
            "refined: PPO-A-Clipping, K = 16, B1 penalty 1, on B1", {"agent": "ppo-a-clip"}, {"b1_penalty": 1.0}
        ),
        "rank-softmax-b1-penalty": Arm(
            "rank-softmax, B1 penalty 1, on B1", {"agent": "rank-softmax"}, {"b1_penalty": 1.0}
        ),
        "refined-b2": Arm("refined: PPO-A-Clipping, K = 16, on B2", {"agent": "ppo-a-clip"}, {}, "random"),
    },
    "refined",
    "each system against PPO-A-Clipping, K = 16, on B1, in m@B",
    "baselines",
    (
        "Heads share the frozen backbone of B1: B3 is a head for every percentage, not a network for each.",
        "B4's trained sorter sorts 16 photos at a time, drawn anew for every drawing; its sigmoids rank all.",
        "B4's sorter is trained first, on 1,000 x 128 lists by default, which its budget does not count.",
        "Heads of B2 and B3 are trained with the triplet loss, backbones (B1, B2) as stage 1 was told to.",
    ),
)

RATES = (3e-4, 1e-3, 3e-3, 1e-2)


def _with_rates(name: str, arm: Arm) -> dict[str, Arm]:
    """An arm for every step size, measured on validation; none where there is nothing to train."""
    arms = {}
    for rate in RATES if arm.trains else ():
        step = {"target_kl": 30 * rate} if name == "trpo" else {"learning_rate": rate}
        settings = {**arm.settings, "split": "validation"}
        label = f"{arm.label}, {rate:g}"
        new = replace(arm, label=label, settings=settings, set={**arm.set, **step}, published=None)
        arms[_rated(name, rate)] = new
    return arms


def _rated(name: str, rate: float) -> str:
    """The name of an arm with that step size."""
    return f"{name}-{rate:g}"


def _tuning(sweep: Sweep, of: str = "") -> Sweep:
    """Every arm that trains with every step size: equally many choices for each."""
    arms = {
        new: of_rate
        for name, arm in sweep.arms.items()
        if not arm.ahead
        for new, of_rate in _with_rates(name, arm).items()
    }
    family = f"each choice against {sweep.arms[sweep.reference].label} at 0.001, in m@B of validation"
    title, reference = f"Which step size{of}? (measured on validation)", f"{sweep.reference}-0.001"
    return Sweep(title, arms, reference, family, compares=sweep.compares, tuned=True)


def _knobs() -> Sweep:
    """Every method with as many settings of all its own knobs; one of each is chosen on validation."""
    arms, setting_of = {}, {}
    for method in KNOBS:
        label = METHODS.arms[method].label.partition(",")[0]
        for number, setting in enumerate(settings_of(method)):
            arms[f"{method}-{number}"] = Arm(
                f"{label}: {told(setting)}", {"agent": method, "chosen_on": "validation"}, setting, published=""
            )
            setting_of[f"{method}-{number}"] = label
    family = "each setting against the default of PPO-A-Clipping, in m@B"
    title = "Which RL method, each tuned by all its own knobs?"
    return Sweep(title, arms, "ppo-a-clip-0", family, remarks=REMARKS, setting_of=setting_of)


SWEEPS = {
    "methods": METHODS,
    "rewards": REWARDS,
    "design": DESIGN,
    "costs": COSTS,
    "leak": LEAK,
    "baselines": BASELINES,
    "tuning": _tuning(METHODS),
    "rewards-tuning": _tuning(REWARDS, " for the rewards"),
    "baselines-tuning": _tuning(BASELINES, " for the baselines"),
    "knobs": _knobs(),
}


def cells(
    name: str,
    common: Mapping[str, Any],
    seeds: list[int],
    overrides: Mapping[str, Any],
    banks: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    sweep: Sweep | None = None,
) -> list[Cell]:
    """The grid of an ablation, seed by seed so that all arms grow together.

    Args:
        name: a key of `SWEEPS`.
        common: settings that all cells have, an arm's own come first; and what some arms need, left out without.
        seeds: of the repetitions.
        overrides: settings of the agent for all arms, or as `<arm>.<setting>` for one; what an arm is about stays.
        banks: kind of features -> settings of each of its banks (`bank bank_sha256 steps`), one for each seed of the
            encoder; seed s gets bank s mod their number. Arms without banks are left out, and those with nothing to
            train have one seed a bank. By default `common` has the settings of a single bank.
        sweep: the ablation itself, where it has arms that `SWEEPS` does not know.

    Raises:
        ConfigError: an unknown ablation, agent or setting.
    """
    if sweep is None and name not in SWEEPS:
        raise unknown_name("ablation", name, SWEEPS)
    sweep = sweep or SWEEPS[name]
    banks = {"complete": [{}]} if banks is None else banks
    grid = []
    optional = {setting for arm in sweep.arms.values() for setting in arm.needs}
    for seed in seeds:
        for arm_name, arm in sweep.arms.items():
            of_arm = banks.get(arm.features, ())
            if not of_arm or set(arm.needs) - set(common):
                continue
            if arm.trains or seed in first_of_each(seeds, len(of_arm)):
                unasked = optional - set(arm.needs)
                shared = {key: value for key, value in common.items() if key not in unasked}
                settings = {**shared, **of_arm[seed % len(of_arm)], **arm.settings, "seed": seed}
                if arm.budget != 1:
                    settings["steps"] = round(arm.budget * settings["steps"])
                agent = agent_class(settings["agent"])
                read = read_by(settings["agent"])
                asked = [(*key.rpartition("."), value) for key, value in overrides.items()]
                # the methods' own losses: only an arm that says so is pulled towards B1
                settings["set"] = {"b1_penalty": 0.0} if agent.presets["default"].b1_penalty else {}
                settings["set"] |= {name: value for whose, _, name, value in asked if not whose and name in read}
                settings["set"] |= {name: value for whose, _, name, value in asked if whose == arm_name}
                settings["set"] |= arm.set
                grid.append(Cell(f"{name}/{arm_name}/seed-{seed}", EXPERIMENT, settings))
    return grid


def read_by(agent: str) -> set[str]:
    """Settings that an agent has and uses: a grid's agents do not share all."""
    config = agent_class(agent).Config
    return {one.name for one in fields(config)} - set(getattr(config, "_unread", ()))
