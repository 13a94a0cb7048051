# %% [markdown]
# # Your own algorithm against ours
#
# Write an algorithm, train it beside one of ours on the same drawings with the same
# budget, and say what the difference is worth. [Add an agent](../add-an-agent.md) has
# the details.

# %%
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import rich
import torch
from rich.table import Table

from sketchless.agents import (
    Agent,
    AgentConfig,
    Batch,
    average,
    learn_together,
    make_agent,
)
from sketchless.benchmarks import evaluate
from sketchless.benchmarks.statistics import holm, pigeonhole_bootstrap, text
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core

train, validation, test = (
    EpisodeBank.load("procedural", split) for split in ("train", "validation", "test")
)
core = Core(train, reward="inv-rank")

# %% [markdown]
# ## The algorithm
#
# Reward-weighted regression (Peters and Schaal, 2007): of the K actions that were
# drawn in a state, imitate those that paid. An agent says what to do with one batch;
# drawings, budget, validation, files and logs come with `Agent`.


# %%
@dataclass(frozen=True)
class Config(AgentConfig):
    """Settings of reward-weighted regression."""

    temperature: float = 0.05
    """Below how large a difference in reward two actions count alike."""

    _positive: ClassVar[tuple[str, ...]] = ("temperature",)


class RewardWeighted(Agent):
    """Imitates the best of K actions."""

    name = "reward-weighted"
    Config = Config
    presets: ClassVar[dict[str, AgentConfig]] = {"default": Config()}

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        # max  E[ sum_k w_k log pi(a_k|s) ],   w = softmax_k(R_k / temperature)
        weight = torch.softmax(
            batch.reward / self.config.temperature, dim=0
        )  # [K, B, T]
        return self.descend(
            -average((weight * self.log_prob(batch)).sum(dim=0), batch.valid)
        )


# %% [markdown]
# ## Five seeds each
#
# Ours learn side by side (`learn_together` gives the same bits as one after the
# other, in less time).

# %%
SEEDS, BUDGET = range(5), 120_000  # environment steps
ours = [
    make_agent("ppo-a-clip", core, validation=validation, seed=seed) for seed in SEEDS
]
learn_together(ours, BUDGET)
mine = [RewardWeighted(core, validation, seed=seed) for seed in SEEDS]
for agent in mine:
    agent.learn(BUDGET)

b1 = evaluate(None, test)
found = {
    "PPO-A-Clipping": [evaluate(a, test) for a in ours],
    "reward-weighted": [evaluate(a, test) for a in mine],
}
found["reward-weighted"][0]

# %% [markdown]
# ## What the difference is worth
#
# A score depends on which photos and sketches were drawn for the test, and on the
# seeds. `pigeonhole_bootstrap` draws all of them anew. A difference is taken seed by
# seed and sketch by sketch, so that what both find easy cancels. Two metrics are two
# chances to be lucky, and Holm's correction pays for that.


# %%
def matrix(name, metric):
    """Scores of the runs of one algorithm: [seeds, sketches]."""
    return np.stack([one.per_sketch(metric) for one in found[name]])


METRICS = ("m@A", "m@B")
gains = {
    (name, metric): pigeonhole_bootstrap(
        matrix(name, metric) - b1.per_sketch(metric), b1.photo_ids
    )
    for metric in METRICS
    for name in found
}
differences = {
    metric: pigeonhole_bootstrap(
        matrix("reward-weighted", metric) - matrix("PPO-A-Clipping", metric),
        b1.photo_ids,
    )
    for metric in METRICS
}
adjusted = holm([difference.p for difference in differences.values()])

table = Table(title=f"{len(b1.rank)} sketches, {len(SEEDS)} seeds; 95 % intervals")
for column in ("", *METRICS):
    table.add_column(column, justify="left" if not column else "right")
for name in found:
    table.add_row(
        f"{name}, gain over B1",
        *(text(gains[name, metric].estimate, "+") for metric in METRICS),
    )
table.add_row(
    "reward-weighted less PPO-A-Clipping",
    *(text(one.estimate, "+") for one in differences.values()),
)
table.add_row("p of this difference (Holm)", *(f"{p:.3f}" for p in adjusted))
table.add_row(
    "likely (80 %) to be seen from",
    *(f"{one.detectable():.2f}" for one in differences.values()),
)
rich.print(table)

# %% [markdown]
# - On this set, with this budget, reward-weighted regression has the higher m@A: the
#   interval of the difference lies above 0.
# - In m@B the two are not told apart. That is not "equal": a true difference smaller
#   than the last line had less than an 80 % chance to be seen.
# - This is a beginning, not a result. Five seeds are few, neither step size was
#   tuned, and drawings made by a program order methods otherwise than drawings by
#   people do. [How a claim is made](../benchmarks.md#how-a-claim-is-made) says what
#   is still missing; `sketchless ablate methods --arms ppo-a-clip
#   my_module:RewardWeighted --preset full` does it.

# %%
assert gains["reward-weighted", "m@A"].estimate.low > 0
assert differences["m@A"].estimate.low > 0
assert differences["m@B"].estimate.low < 0 < differences["m@B"].estimate.high

# %% [markdown]
# ## Without our base class
#
# `evaluate` plays any function from observations to actions, and any model of
# stable-baselines3, in the same way.


# %%
def three_times_the_feature(observation):
    """A policy that has learned nothing: float32 [N, 128] to [N, 64]."""
    return 3 * observation[:, :64]


evaluate(three_times_the_feature, test)

# %%
assert evaluate(three_times_the_feature, test).m_at_b < b1.m_at_b
