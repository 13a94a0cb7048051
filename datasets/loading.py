"""Data sets by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .dataset import SketchDataset
from .errors import unknown_name
from .procedural import procedural
from .qmul import qmul

DATASETS: dict[str, Callable[..., SketchDataset]] = {"procedural": procedural, "qmul": qmul}


def load_dataset(name: str, **options: Any) -> SketchDataset:
    """Load a data set.

    Args:
        name: `"procedural"`, `"qmul"` (with `root=`), or the folder of a QMUL set itself.
        options: as the loader of that name takes them; `**dataset.spec` builds the same set again.

    Raises:
        ConfigError: unknown name or option. Others as the loader raises them.
    """
    if name not in DATASETS:
        if "/" not in name and not Path(name).exists():
            raise unknown_name("data set", name, [*DATASETS, "<folder of a QMUL set>"])
        name, options = "qmul", {"root": name, **options}
    known = inspect.signature(DATASETS[name]).parameters
    for option in options:
        if option not in known:
            raise unknown_name(f"option of data set {name!r}:", option, known)
    return DATASETS[name](**options)
