"""Fixtures that several rooms share."""

from __future__ import annotations

import copy
import gc
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from sketchless.encoders.bank import EpisodeBank

# pytest-xdist's own process reads this file before it starts a process a core, and runs no test: it needs no torch.
if "PYTEST_XDIST_WORKER" in os.environ:  # more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's, here and in what the tests start

# No test measures time, however slow the machine is.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]


def pytest_collection_finish() -> None:
    """All modules and tests stay to the end: the collector of garbage need not go through them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def chair_v2() -> Path:
    """Folder of the real Chair-V2, which is not part of the project. For tests marked `data`."""
    home = os.environ.get("SKETCHLESS_DATA") or Path(__file__).parents[2] / "shared" / "data"
    folder = Path(home) / "qmul-chair-v2"
    if not folder.is_dir():
        pytest.skip(f"no Chair-V2 at {folder}: set SKETCHLESS_DATA to the folder that holds qmul-chair-v2")
    return folder


@contextmanager
def _refuses(kind: type[Exception], match: str) -> Iterator[None]:
    with pytest.raises(kind, match=match) as caught:
        yield
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="session")
def refuses() -> Refuses:
    """Context manager: the block must raise exactly this error, in one line that matches."""
    return _refuses


Mutated = Callable[[Any, random.Random], Any]


def _mutated(value: Any, draw: random.Random) -> Any:
    nested: Any = 1
    for _ in range(draw.choice((3, 250, 500))):
        nested = draw.choice(([nested], {"a": nested}))
    junk = (
        None,
        True,
        -1,
        0,
        0.5,
        10**9,
        10**40,
        1e308,
        math.nan,
        -math.inf,
        "",
        "a\nb\x1b[2J",
        "x" * 10_000,
        [],
        {},
        nested,
    )
    value = copy.deepcopy(value)
    places = [(value, key) for key in (value if isinstance(value, dict) else range(len(value)))]
    for holder, key in places:  # grows: all places, at any depth
        inner = holder[key]
        if isinstance(inner, (dict, list)):
            places += [(inner, k) for k in (inner if isinstance(inner, dict) else range(len(inner)))]
    holder, key = draw.choice(places)
    what = draw.choice(("delete", "add", "wrap", "other", "junk", "junk", "junk"))
    if what == "delete":
        del holder[key]
    elif what == "add" and isinstance(holder, dict):
        holder[draw.choice(("more", "__class__", "self", ""))] = draw.choice(junk)
    elif what == "wrap":
        holder[key] = draw.choice(([holder[key]], {"a": holder[key]}, str(holder[key])))
    elif what == "other":
        other, its = draw.choice(places)
        holder[key] = copy.deepcopy(other[its])
    else:
        holder[key] = draw.choice(junk)
    return value


@pytest.fixture(scope="session")
def mutated() -> Mutated:
    """Function of JSON values (a dict or list) and a `random.Random`: a copy with one fault in it, at any depth."""
    return _mutated


MakeBank = Callable[..., "EpisodeBank"]


def _make_bank(
    *,
    n: int = 12,
    steps: int = 20,
    width: int = 32,
    dim: int = 8,
    photos: int = 10,
    seed: int = 0,
    lengths: Sequence[int] | None = None,
) -> EpisodeBank:
    import torch
    from torch.nn.functional import normalize

    from sketchless.encoders.bank import EpisodeBank

    random = torch.Generator().manual_seed(seed)
    frames = torch.full((n,), steps) if lengths is None else torch.tensor(list(lengths))
    shown = torch.minimum(torch.arange(steps), frames.unsqueeze(1) - 1)  # [N, T]
    features = normalize(torch.randn(n, steps, width, generator=random), dim=-1)
    return EpisodeBank(
        features=features.take_along_dim(shown.unsqueeze(2), dim=1),
        lengths=frames,
        targets=torch.randint(photos, (n,), generator=random),
        gallery=normalize(torch.randn(photos, dim, generator=random), dim=-1),
        weight=torch.randn(dim, width, generator=random),
        bias=0.1 * torch.randn(dim, generator=random),
        sketch_ids=tuple(f"sketch-{i}" for i in range(n)),
        photo_ids=tuple(f"photo-{i}" for i in range(photos)),
        split="train",
        provenance={"steps": steps},
    )


@pytest.fixture(scope="session")
def make_bank() -> MakeBank:
    """Maker of small banks of random unit vectors: `make_bank(n=, steps=, width=, dim=, photos=, seed=, lengths=)`."""
    return _make_bank
