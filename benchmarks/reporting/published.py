"""The numbers that Bhunia et al., "Sketch Less for More" (CVPR 2020), and ZSE-SBIR (CVPR 2023) print.

Shown beside ours for comparison only: their data, encoder and number of runs differ, and their tables carry no
intervals.
"""

from __future__ import annotations

from typing import NamedTuple

from sketchless.datasets.errors import unknown_name


class Score(NamedTuple):
    """One line of a published table, percent; None where it is not printed."""

    m_at_a: float
    m_at_b: float
    acc_at_5: float | None = None
    acc_at_10: float | None = None

    def of(self, metric: str) -> float:
        """`"m@A"` or `"m@B"`."""
        return {"m@A": self.m_at_a, "m@B": self.m_at_b}[metric]


BASELINES = {
    "Chair-V2": {
        "B1": Score(77.18, 29.04, 76.47, 88.13),
        "B2": Score(80.46, 28.07, 74.31, 86.69),
        "B3": Score(76.99, 30.27, 76.47, 88.13),
        "B4": Score(81.24, 29.85, 75.14, 87.69),
        "TS": Score(76.01, 27.64, 73.47, 85.13),
        "ours": Score(85.44, 35.09, 76.34, 89.65),
    },
    "Shoe-V2": {
        "B1": Score(80.12, 18.05, 65.69, 79.69),
        "B2": Score(79.72, 18.75, 61.79, 76.64),
        "B3": Score(80.13, 18.46, 65.69, 79.69),
        "B4": Score(81.02, 19.50, 62.34, 77.24),
        "TS": Score(77.12, 17.13, 62.67, 76.47),
        "ours": Score(85.38, 21.44, 65.77, 79.63),
    },
}

METHODS = {
    "Chair-V2": {
        "vpg": Score(80.36, 32.34),
        "ppo-ac-clip": Score(81.54, 33.71),
        "ppo-ac-kl": Score(80.99, 32.64),
        "ppo-a-kl": Score(81.34, 33.01),
        "trpo": Score(83.21, 33.68),
        "ppo-a-clip": Score(85.44, 35.09),
    },
    "Shoe-V2": {
        "vpg": Score(82.56, 19.67),
        "ppo-ac-clip": Score(83.47, 20.84),
        "ppo-ac-kl": Score(83.84, 20.04),
        "ppo-a-kl": Score(83.51, 20.66),
        "trpo": Score(83.61, 20.31),
        "ppo-a-clip": Score(85.38, 21.44),
    },
}

REWARDS = {
    "Chair-V2": {
        "top1": Score(82.99, 32.46),
        "top5": Score(81.36, 31.94),
        "top10": Score(80.64, 30.57),
        "neg-rank": Score(83.71, 32.84),
        "inv-sqrt-rank": Score(83.71, 33.97),
        "inv-rank": Score(84.33, 34.11),
        "combined": Score(85.44, 35.09),
    },
    "Shoe-V2": {
        "top1": Score(82.24, 19.87),
        "top5": Score(81.74, 19.37),
        "top10": Score(80.87, 19.08),
        "neg-rank": Score(83.81, 20.71),
        "inv-sqrt-rank": Score(83.67, 20.49),
        "inv-rank": Score(84.07, 20.54),
        "combined": Score(85.38, 21.44),
    },
}

LATER = {
    "Chair-V2": {
        "RL": Score(83.2, 34.1),
        "MGAL": Score(85.8, 38.6),
        "LSTM": Score(87.4, 38.3),
        "LGRL": Score(88.7, 44.3),
        "PSRL": Score(94.9, 40.4),
    },
}
"""Later work: means of the 20 points of its printed curves, read off them. PSRL looks at later frames and at the
attributes of the target."""

TABLES = {"baselines": BASELINES, "methods": METHODS, "rewards": REWARDS}


def published_set(dataset: str) -> str:
    """The published data set to show beside `dataset`: shoes beside shoes, chairs beside anything else."""
    return "Shoe-V2" if "shoe" in dataset.lower() else "Chair-V2"


def published(table: str | None, dataset: str) -> dict[str, Score]:
    """Arm -> published score, B1 among them; empty without a table.

    Raises:
        ConfigError: no such table.
    """
    if table is None:
        return {}
    if table not in TABLES:
        raise unknown_name("published table", table, TABLES)
    name = published_set(dataset)
    return {"B1": BASELINES[name]["B1"], **TABLES[table][name]}
