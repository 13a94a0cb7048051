# %% [markdown]
# # The first ten minutes
#
# Someone draws a chair. After every piece of the drawing a gallery of photos is
# ranked, and the one photo that is drawn should come up early. This notebook plays
# one drawing, measures a baseline, trains an agent, and says how sure its gain is.
# All data ship with the package; no network and no GPU are needed.

# %%
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import rich
from matplotlib import pyplot as plt
from PIL import Image

from sketchless.agents import load_agent, make_agent
from sketchless.benchmarks import evaluate, interval
from sketchless.benchmarks.display.tables import comparison
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core  # registers the ids, too

# %% [markdown]
# ## One drawing
#
# An episode is one drawing, shown in twenty steps. The observation is the feature of
# the drawing so far, from a frozen encoder; the action is added to its embedding
# before the photos are ranked. An action of zeros leaves the embedding as it is: that
# is the baseline, B1. `info["rank"]` is the place of the true photo, and 1 is best.

# %%
env = gym.make("sketchless/OnTheFly-v0", split="test", render_mode="rgb_array")
nothing = np.zeros(env.action_space.shape, dtype=np.float32)
observation, info = env.reset(seed=3)
ranks, terminated = [], False
while not terminated:
    observation, reward, terminated, truncated, info = env.step(nothing)
    ranks.append(info["rank"])
    if len(ranks) == 8:
        picture = env.render()
print("rank at each step:", *ranks)
assert len(ranks) == 20

# %% [markdown]
# Step 8: the drawing, the five nearest photos, and the true one.

# %%
Image.fromarray(picture)

# %% [markdown]
# ## The baseline on all test drawings
#
# A *bank* holds the features of every frame of every drawing of a split, so nothing
# has to be encoded again.

# %%
train, validation, test = (
    EpisodeBank.load("procedural", split) for split in ("train", "validation", "test")
)
train

# %% [markdown]
# Two metrics count all frames: m@A is the mean ranking percentile and m@B the mean of
# 1/rank, both times 100. A@1, A@5 and A@10 count complete drawings alone: the
# percentage whose photo is among the first 1, 5 and 10.

# %%
before = evaluate(None, test)
before

# %% [markdown]
# ## Train
#
# GRPO draws sixteen actions in every state and makes those likelier that beat the
# mean of the sixteen. The agent is chosen on the validation drawings; the test
# drawings are looked at once, at the end.

# %%
agent = make_agent(
    "grpo", Core(train, reward="inv-rank"), validation=validation, seed=0
)
agent.learn(240_000)
after = evaluate(agent, test)
rich.print(comparison(before, [after], "GRPO"))

# %% [markdown]
# The interval of a change draws photos, and sketches within them, anew. The photo
# comes up earlier: the interval of m@A lies above 0. Whether A@1 falls, these
# drawings cannot tell: its interval holds 0. One seed says nothing about another one,
# and these drawings are made by a program: see [your own algorithm against
# ours](your_own_algorithm.nb.py) for seeds, and [the results on
# Chair-V2](../../benchmarks/results/chair-v2/README.md) for drawings by people.

# %%
change = {
    m: interval((after.per_sketch(m) - before.per_sketch(m))[None], before.photo_ids)
    for m in ("m@A", "A@1")
}
assert change["m@A"][0] > 0
assert change["A@1"][0] < 0 < change["A@1"][1]

# %% [markdown]
# ## When the photo comes up

# %%
figure, axes = plt.subplots(figsize=(6, 3.5))
for name, one in (("B1", before), ("GRPO", after)):
    percentile, _ = one.by_percentage()
    axes.plot(
        np.arange(5, 101, 5), 100 * percentile, label=f"{name}, m@A {one.m_at_a:.1f}"
    )
axes.set(xlabel="percentage of the drawing", ylabel="mean ranking percentile")
axes.legend()
plt.show()

# %% [markdown]
# ## Keep it
#
# One file holds the weights, the settings and the state of training. It loads on any
# bank of the same encoder.

# %%
with tempfile.TemporaryDirectory() as folder:
    agent.save(Path(folder) / "agent.safetensors")
    again = load_agent(Path(folder) / "agent.safetensors", test)
assert (evaluate(again, test).rank == after.rank).all()

# %% [markdown]
# ## Next
#
# - [Your own algorithm against ours](your_own_algorithm.nb.py), [your own
#   reward](your_own_reward.nb.py), [your own data](your_own_data.nb.py).
# - [The environment](../environment.md): observation, action, reward, info.
# - `sketchless train` does all of this in one command, and `sketchless draw` lets you
#   draw: [draw](../draw.md).
