# %% [markdown]
# # What reinforcement learning can add, and what it cannot
#
# Four ids, two kinds of problem. In `OnTheFly-v0` and `Strokes-v0` an action changes
# no later observation: they are contextual bandits. In `Carry-v0` and `Stop-v0` it
# does. What that means for an algorithm can be seen in seconds.

# %%
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import rich
from matplotlib import pyplot as plt
from rich.table import Table

from sketchless.agents import make_agent
from sketchless.benchmarks import evaluate
from sketchless.benchmarks.reporting.compare import compare
from sketchless.benchmarks.reporting.results import read_grid
from sketchless.benchmarks.statistics import pigeonhole_bootstrap, text
from sketchless.benchmarks.stopping import Ranked, rivals, stopping
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core, check_actions_matter

train, validation, test = (
    EpisodeBank.load("procedural", split) for split in ("train", "validation", "test")
)
CHECKOUT = next(
    home
    for home in (Path.cwd(), *Path.cwd().parents)
    if (home / "benchmarks/results").is_dir()
)

# %% [markdown]
# ## Which is which
#
# `check_actions_matter` plays episodes twice, with all actions but one the same, and
# compares what comes after.

# %%
for name, bandit in {
    "OnTheFly-v0": True,
    "Strokes-v0": True,
    "Carry-v0": False,
    "Stop-v0": False,
}.items():
    make = partial(gym.make, f"sketchless/{name}", reward="inv-rank")
    seen = check_actions_matter(make, bandit=bandit, episodes=1)
    print(f"{name:12} {seen}")
    assert (seen.observation or seen.end) is not bandit

# %% [markdown]
# ## In a bandit, a discount has nothing to do
#
# A step's reward is that step's own doing. A return with a discount above 0 adds the
# luck of later steps to it, and nothing else. Supervised learning, which is told the
# right photo, is a rival there.

# %%
SEEDS, BUDGET = range(3), 60_000  # environment steps
core = Core(train, reward="inv-rank")
ARMS = {
    "GRPO, discount 0": ("grpo", {}),
    "GRPO, discount 0.95": ("grpo", {"gamma": 0.95}),
    "softmax over the photos, no RL": ("rank-softmax", {}),
}
b1 = evaluate(None, test)
found = {}
for arm, (name, settings) in ARMS.items():
    agents = [
        make_agent(name, core, validation=validation, seed=seed, **settings)
        for seed in SEEDS
    ]
    for agent in agents:
        agent.learn(BUDGET)
    found[arm] = [evaluate(agent, test) for agent in agents]


def matrix(arm, metric):
    """Scores of the runs of an arm: [seeds, N]."""
    return np.stack([one.per_sketch(metric) for one in found[arm]])


METRICS = ("m@A", "m@B", "A@1")
table = Table(
    title=f"gain over B1: {len(b1.rank)} sketches, {len(SEEDS)} seeds; 95 % intervals"
)
for column in ("", *METRICS):
    table.add_column(column, justify="left" if not column else "right")
gain = {}
for arm in found:
    for metric in METRICS:
        values = matrix(arm, metric) - b1.per_sketch(metric)
        gain[arm, metric] = pigeonhole_bootstrap(values, b1.photo_ids).estimate
    table.add_row(arm, *(text(gain[arm, metric], "+") for metric in METRICS))
rich.print(table)

# %%
discounted = pigeonhole_bootstrap(
    matrix("GRPO, discount 0.95", "m@A") - matrix("GRPO, discount 0", "m@A"),
    b1.photo_ids,
)
print(f"m@A with discount 0.95 less that with 0: {text(discounted.estimate, '+')}")
supervised = pigeonhole_bootstrap(
    matrix("softmax over the photos, no RL", "m@A")
    - matrix("GRPO, discount 0", "m@A"),
    b1.photo_ids,
)
print(f"m@A of the softmax less that of GRPO: {text(supervised.estimate, '+')}")
assert discounted.estimate.high < 0
assert gain["softmax over the photos, no RL", "m@A"].low > 0
assert gain["softmax over the photos, no RL", "A@1"].high < 0

# %% [markdown]
# - With a discount of 0.95 GRPO gains less in m@A: the interval of the difference
#   lies below 0. Where its row is 0 throughout, no update was better than B1 on
#   validation, and B1 was kept.
# - The softmax, which needs no RL, gains in m@A too (the last line has the difference
#   to GRPO, with its interval), and pays for it with first places on complete
#   drawings: the interval of its A@1 lies below 0. That of GRPO holds 0.
# - So RL does not add a better gradient here. It adds that *any* function of the rank
#   can be paid: what you want is written down as a reward, not as a loss that happens
#   to have a gradient. [Your own reward](your_own_reward.nb.py).
#
# ## Where actions matter: `Carry-v0`
#
# What an action adds is carried along, so an early action changes later lists. Here a
# critic, a look ahead and a memory could pay. This grid was run before, with ten
# seeds: its files hold the rank of every frame, and the table is made from them.

# %%
carry = compare(read_grid(CHECKOUT / "benchmarks/results/procedural/carry"))
carry

# %%
differences = {
    row.label: row.contrast.difference for row in carry.rows if row.contrast
}
for arm in ("PPO-AC-Clipping", "PPO-A-Clipping, GRU", "PPO-A-Clipping, discount 0"):
    for metric in ("m@A", "m@B"):
        assert (
            differences[arm][metric].estimate.low
            < 0
            < differences[arm][metric].estimate.high
        )

# %% [markdown]
# Beside PPO-A-Clipping with a discount of 1, neither a critic, nor a memory, nor a
# discount of 0 is told apart in m@A or m@B. Differences smaller than about half a
# point of m@A may be there and were not likely to be seen.
#
# ## Where actions matter: `Stop-v0`
#
# Every stroke costs, and the searcher decides when to show the list. Compare rules
# that learn nothing (show after a fixed share of the drawing, or once the nearest
# photo is clearly nearer than the second; both are chosen on validation) with
# *hindsight*, which knows every rank and picks the best step. No policy can reach
# hindsight; it bounds what there is to win.

# %%
chosen_on, shown_on = (Ranked.by_b1(bank) for bank in (validation, test))
COSTS = (0.005, 0.01, 0.02, 0.05, 0.1)
returns = {"fixed share": [], "margin": [], "hindsight": []}
for cost in COSTS:
    best = (1 / shown_on.rank - cost * np.arange(20)).argmax(axis=1) + 1
    rules = [*rivals(chosen_on, shown_on, cost).values(), best]
    for of_rule, shown in zip(returns.values(), rules, strict=True):
        of_rule.append(
            100 * stopping(shown_on.rank, shown_on.lengths, shown, cost).paid
        )

figure, axes = plt.subplots(figsize=(6, 3.5))
for rule, paid in returns.items():
    found_at = [
        pigeonhole_bootstrap(values[None], b1.photo_ids).estimate for values in paid
    ]
    ends = np.abs(
        np.array([(one.value - one.low, one.high - one.value) for one in found_at])
    ).T
    axes.errorbar(
        COSTS,
        [one.value for one in found_at],
        ends,
        marker="o",
        capsize=3,
        label=rule,
    )
axes.set(
    xscale="log", xlabel="cost of a stroke", ylabel="return: 100 (1/rank - cost)"
)
axes.legend()
plt.show()

# %%
for fixed, hindsight in zip(
    returns["fixed share"], returns["hindsight"], strict=True
):
    assert (
        pigeonhole_bootstrap((hindsight - fixed)[None], b1.photo_ids).estimate.low > 0
    )

# %% [markdown]
# - There is something to win at every cost: hindsight is above the rules, with its
#   interval.
# - Whether an observation shows enough to win it is open. In
#   [a grid of ten seeds](../../benchmarks/results/procedural/README.md#tasks-in-which-actions-matter)
#   none of ten agents is told apart from the two rules at 0.02 a stroke. An agent that is
#   would be a result.
