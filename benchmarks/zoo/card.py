"""The model card of weights, made from their manifest."""

from __future__ import annotations

import json
from typing import Any

from sketchless.agents import AGENTS
from sketchless.datasets.errors import printable
from sketchless.encoders.zoo import WEIGHTS, Described

from ..metrics import METRICS

_LOAD = {"agent": "from sketchless.agents import Agent", "encoder": "from sketchless.encoders import load_encoder"}
_HEAD = """---
license: mit
library_name: sketchless
tags:
- sketch-based-image-retrieval
- fine-grained-retrieval
- reinforcement-learning
---
"""


def card(about: Described, place: str) -> str:
    """Markdown with the front matter that the hub reads.

    Args:
        about: of the weights; its texts may come from anyone, and become code spans.
        place: what loads them: a name, a folder, or a repository.
    """
    what = f"Agent {_code(about.name)}" if about.kind == "agent" else f"Encoder {_code(about.name)}"
    parts = [
        f"{_HEAD}\n# {what}, trained on {_code(about.dataset)}",
        f"For on-the-fly fine-grained sketch-based image retrieval with the package `sketchless`. {_does(about)}",
        _load(about, place),
        _scores(about),
        f"## Training\n\n{_code(about.made_by)}\n\n{_rows(_training(about))}",
        f"## Settings\n\n{_rows(about.settings)}",
        f"## Files\n\n`{WEIGHTS[about.kind]}`, SHA-256 {_code(about.sha256)}. {_holds(about)}It is a safetensors file, "
        "which cannot run code.",
        f"## Licence\n\n{_code(about.licence)}, for the weights. "
        "The data set is no part of this, and has terms of its own.",
    ]
    return "\n\n".join(parts) + "\n"


def _does(about: Described) -> str:
    if about.kind == "encoder":
        return "It embeds frames of a drawing and photos; `sketchless encode --load` makes a bank with it."
    bank = about.config.bank
    named = f" of the bank {_code(bank.name)} (SHA-256 {_code(bank.sha256)})" if bank else ""
    return (
        f"It refines the embedding of an unfinished drawing, from the features{named}: it is of use with those alone."
    )


def _holds(about: Described) -> str:
    if about.kind == "agent" and about.name not in AGENTS:  # of one's own, which may keep what it likes
        return ""
    return "It holds weights alone: no sketch, no photo and no feature of one. "


def _load(about: Described, place: str) -> str:
    argument = json.dumps(place)
    call = f"Agent.from_pretrained({argument})" if about.kind == "agent" else f"load_encoder({argument})"
    env = "" if about.kind == "encoder" else "  # env=...: where its bank does not ship with sketchless"
    return f"## Load\n\n```python\n{_LOAD[about.kind]}\n\n{about.kind} = {call}{env}\n```"


def _scores(about: Described) -> str:
    found = about.scores
    if found is None:
        return "## Scores\n\nNot measured."
    rows = [["", *METRICS], ["B1, the encoder alone", *(f"{found.B1[m]:.2f}" for m in METRICS)]]
    said = f"Percent, on {found.sketches} test drawings and {found.photos} photos."
    if found.agent is not None:
        rows.append(["agent", *(f"{found.agent[m]:.2f}" for m in METRICS)])
    if found.change is not None:
        change = [found.change[m] for m in METRICS]
        rows.append(
            ["change", *(f"{c['mean']:+.2f} [{c['interval95'][0]:+.2f}, {c['interval95'][1]:+.2f}]" for c in change)]
        )
        seeds = f", mean of the {found.seeds} seeds of its run" if found.seeds > 1 else ", of this one seed"
        said += (
            f" The change is the agent's minus B1's{seeds}, with a bootstrap interval of 95% over photos and drawings."
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["## Scores", "", said, "", lines[0], "|---|" + "---|" * len(METRICS), *lines[1:]])


def _training(about: Described) -> dict[str, Any]:
    extra = about.model_extra or {}
    config = {key: value for key, value in about.config.model_dump(exclude_unset=True).items() if key != "bank"}
    return config | {key: extra[key] for key in ("seed", "python", "versions", "system", "gpu") if key in extra}


def _rows(values: dict[str, Any]) -> str:
    rows = [f"| {_code(key)} | {_code(json.dumps(value, ensure_ascii=False))} |" for key, value in values.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _code(text: str) -> str:
    """Text as a code span in a table: no markup, no line break, no end of the cell."""
    return f"`{printable(text)[:500].replace('`', chr(39)).replace('|', '/')}`"
