# %% [markdown]
# # Your own data
#
# A data set is a folder of photos and drawings. This notebook writes a small one,
# looks at what was found in it, trains an encoder and an agent on it, and measures
# both. [Your own data](../your-own-data.md) has every option; `sketchless draw
# --collect` records drawings of your photos in this form.

# %%
import json
import os
import tempfile
from pathlib import Path

import rich
from matplotlib import pyplot as plt
from PIL import Image

from sketchless.agents import make_agent
from sketchless.benchmarks import evaluate, interval
from sketchless.benchmarks.display.tables import comparison
from sketchless.datasets import birth_map, frames, load_dataset, reveal
from sketchless.encoders import (
    EncoderConfig,
    EpisodeBank,
    Stage1Config,
    encode_banks,
    make_encoder,
    save_banks,
    train_stage1,
)
from sketchless.envs import Core

os.chdir(tempfile.mkdtemp())  # all that is written below goes there

# %% [markdown]
# ## A folder
#
# Photos are pictures; drawings are SVG, or one line of JSON each, with strokes `[[x
# ...], [y ...]]` and the name of the photo. Sixty chairs of the built-in set stand in
# for yours.

# %%
chairs = load_dataset("procedural", train=60, validation=0, test=2, drawers=2)
for folder in ("photos", "sketches"):
    (Path("my-set") / folder).mkdir(parents=True)
split = chairs.split("train")
for name in split.photos:
    Image.fromarray(chairs.photo(name)).save(f"my-set/photos/{name}.png")
for sketch, target in zip(split.sketches, split.targets, strict=True):
    strokes = [stroke.T.tolist() for stroke in sketch.strokes()]
    line = json.dumps(
        {"drawing": strokes, "canvas": [256, 256], "photo": split.photos[target]}
    )
    Path(f"my-set/sketches/{sketch.id}.ndjson").write_text(line)
print(line[:150], "...")

# %% [markdown]
# ## What was found
#
# Photos and drawings are paired by name. A fifth of the photos, with their drawings,
# is kept for the test, the same for every seed.

# %%
mine = load_dataset("./my-set")
found = mine.report
for what in ("photos", "drawings", "paired_by", "split_by", "left_out"):
    print(f"{what:10} {found[what]}")
assert found["paired"] == found["drawings"] == 120

# %%
test = mine.split("test")
test

# %% [markdown]
# Always look at it: a mistake in the format shows here first.

# %%
sketch, photo = test.sketches[0], test.photos[test.targets[0]]
figure, axes = plt.subplots(1, 5, figsize=(9, 2))
drawn = frames(birth_map(sketch, reveal(sketch)), 20)  # [20, 256, 256], ink 255
for place, t in zip(axes, (4, 9, 14, 19), strict=False):
    place.imshow(255 - drawn[t], cmap="gray")
    place.set_title(f"{5 * (t + 1)} %", fontsize=9)
axes[-1].imshow(mine.photo(photo))
axes[-1].set_title(photo, fontsize=9)
for place in axes:
    place.axis("off")
plt.show()

# %% [markdown]
# ## The encoder
#
# A small convolutional network on contours, from random weights: seconds on a
# processor. Real data want more pixels, more epochs and a pretrained backbone
# (`EncoderConfig("hf:<folder>", size=192)`). The bank then holds the features of
# every frame.

# %%
encoder = make_encoder(EncoderConfig("small-cnn", size=32))
train_stage1(encoder, mine, Stage1Config(epochs=10, batch=32))
save_banks("bank.safetensors", encode_banks(encoder, mine))
banks = {
    split: EpisodeBank.load("bank.safetensors", split)
    for split in ("train", "validation", "test")
}
before = evaluate(None, banks["test"])
before

# %% [markdown]
# ## The agent

# %%
agent = make_agent(
    "grpo",
    Core(banks["train"], reward="inv-rank"),
    validation=banks["validation"],
    seed=0,
)
agent.learn(30_000)
after = evaluate(agent, banks["test"])
rich.print(comparison(before, [after], "GRPO"))

# %% [markdown]
# The table cannot tell whether the agent is better: twelve test photos are too few.
# Give the test more photos with `load_dataset("./my-set", test=40)`; below some
# hundred photos the numbers say little.

# %%
low, high = interval(
    (after.per_sketch("m@B") - before.per_sketch("m@B"))[None], before.photo_ids
)
assert low <= 0 <= high
assert before.m_at_b > 100 * sum(1 / rank for rank in range(1, 13)) / 12  # by chance

# %% [markdown]
# The same from the command line:
#
# ```sh
# sketchless info --dataset ./my-set --sheet my-set.png
# sketchless encode --dataset ./my-set --out runs/my-encoder
# sketchless train --bank runs/my-encoder/bank.safetensors --out runs/my-agent
# ```
