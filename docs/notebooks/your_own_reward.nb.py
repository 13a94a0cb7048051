# %% [markdown]
# # Your own reward
#
# The paper pays 1/rank. Suppose that two other things count for you: the first place
# alone, and that a photo which has it does not lose it again. Write a reward for
# each, look at what it can teach, train with it, and measure whether it buys what it
# pays for. [Add a reward](../add-a-reward.md) lists all that a reward may read.

# %%
import numpy as np
import rich
import torch
from rich.table import Table
from torch import Tensor

from sketchless.agents import learn_together, make_agent
from sketchless.benchmarks import evaluate
from sketchless.benchmarks.statistics import pigeonhole_bootstrap, text
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core, RewardScheme, Step
from sketchless.envs.testing import check_reward

train, validation, test = (
    EpisodeBank.load("procedural", split) for split in ("train", "validation", "test")
)

# %% [markdown]
# ## Two rewards
#
# A reward that needs the rank alone is a function of ranks and of G, the number of
# photos. Any other one is a function of a `Step`: M steps side by side, each of which
# gets a number of its own.


# %%
def first_place(rank: Tensor, size: int) -> Tensor:
    """1 at rank 1, else 0."""
    return (rank == 1).double()


def hold_the_lead(step: Step) -> Tensor:
    """1/rank, less 1/2 where the rank before was 1 and this one is not. -1/2..1."""
    lost = (step.previous_rank == 1) & (step.rank > 1)
    return 1 / step.rank.double() - 0.5 * lost


REWARDS = {
    "inv-rank": "inv-rank",
    "first-place": RewardScheme("first-place", first_place),
    "hold-the-lead": RewardScheme("hold-the-lead", hold_the_lead),
}

# %% [markdown]
# `check_reward` plays them: finite numbers, the same ones every time, each from its
# own step alone, and never less for a nearer photo. It raises `BrokenRule`, which
# says what is wrong.

# %%
for reward in ("first-place", "hold-the-lead"):
    check_reward(REWARDS[reward])

# %% [markdown]
# ## How often does it tell two actions apart?
#
# An agent without a critic learns in a state only if the sixteen actions that it
# tries there are not all paid alike. That needs no training to be seen.

# %%
sketches = torch.arange(100)
noise = np.exp(-2) * torch.randn(
    16, 100, 20, 64, generator=torch.Generator().manual_seed(0)
)  # [K, B, T, d]
informative = {}
for name, reward in REWARDS.items():
    core = Core(train, reward=reward)
    paid = torch.stack(
        [core.score(sketches, one).reward for one in noise]
    )  # [K, B, T]
    informative[name] = 100 * float((paid != paid[0]).any(dim=0).double().mean())
    print(f"{name:14} tells actions apart in {informative[name]:.0f} % of all states")
assert informative["first-place"] < 50
assert informative["inv-rank"] > 95

# %% [markdown]
# The first place alone is paid alike to all sixteen in more than half of the states,
# and nothing is learned there.
#
# ## Train
#
# The same algorithm, seeds, budget and drawings: the reward is the one thing that
# differs.

# %%
SEEDS, BUDGET = range(3), 60_000  # environment steps
found = {}
for name, reward in REWARDS.items():
    core = Core(train, reward=reward)
    agents = [
        make_agent("grpo", core, validation=validation, seed=seed, learning_rate=5e-3)
        for seed in SEEDS
    ]
    learn_together(agents, BUDGET)
    found[name] = [evaluate(agent, test) for agent in agents]
b1 = evaluate(None, test)

# %% [markdown]
# ## Do they buy what they pay for?
#
# Measure the wishes themselves beside the usual metrics. Differences are to 1/rank,
# paired by seed and sketch; intervals draw photos, sketches within them and seeds
# anew.


# %%
def scores(evaluation, metric):
    """One value per sketch: float64 [N]."""
    rank = evaluation.rank
    if metric == "first, % of frames":
        return 100 * (rank == 1).mean(axis=1)
    if metric == "leads lost a drawing":
        return ((rank[:, :-1] == 1) & (rank[:, 1:] > 1)).sum(axis=1).astype(float)
    return evaluation.per_sketch(metric)


def matrix(name, metric):
    """Of the runs with one reward: [seeds, N]."""
    return np.stack([scores(one, metric) for one in found[name]])


METRICS = ("m@A", "m@B", "first, % of frames", "leads lost a drawing")
difference = {
    (name, metric): pigeonhole_bootstrap(
        matrix(name, metric) - matrix("inv-rank", metric), b1.photo_ids
    ).estimate
    for name in ("first-place", "hold-the-lead")
    for metric in METRICS
}
table = Table(
    title=f"{len(b1.rank)} test sketches, {len(SEEDS)} seeds; 95 % intervals"
)
for column in (
    "",
    "B1",
    "inv-rank",
    "first-place less inv-rank",
    "hold-the-lead less inv-rank",
):
    table.add_column(column, justify="left" if not column else "right")
for metric in METRICS:
    alone = (
        f"{scores(b1, metric).mean():.2f}",
        f"{matrix('inv-rank', metric).mean():.2f}",
    )
    paid = (
        text(difference[name, metric], "+")
        for name in ("first-place", "hold-the-lead")
    )
    table.add_row(metric, *alone, *paid)
rich.print(table)

# %% [markdown]
# - Paid for first places alone, the agent has no more of them that these drawings can
#   tell, and a lower m@A: its interval lies below 0. A reward that seldom tells
#   actions apart teaches little.
# - Paid for holding the lead, it loses as many leads as with 1/rank, as far as three
#   seeds tell. The observation shows the drawing, not the ranks before: a policy
#   cannot know that there is a lead to hold.
# - Both are checked on drawings made by a program, with three seeds and one step
#   size. [How a claim is made](../benchmarks.md#how-a-claim-is-made) says what a
#   result needs; `sketchless ablate rewards` compares those of the package in that
#   way.

# %%
assert difference["first-place", "m@A"].high < 0
assert (
    difference["first-place", "first, % of frames"].low
    < 0
    < difference["first-place", "first, % of frames"].high
)
assert (
    difference["hold-the-lead", "leads lost a drawing"].low
    < 0
    < difference["hold-the-lead", "leads lost a drawing"].high
)
