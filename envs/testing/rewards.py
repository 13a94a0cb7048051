"""The rules of rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from ..rewards import Local, RewardScheme, Step, made_up, make_reward
from .rules import demand


def check_reward(reward: str | Local | RewardScheme, sizes: Sequence[int] = (2, 10, 100)) -> None:
    """Check the rules `reward ...`, which all registered schemes keep, for galleries of some sizes.

    Raises:
        BrokenRule: the first rule that is found broken. ConfigError: not a reward.

    >>> check_reward("combined")
    """
    scheme = make_reward(reward)
    for size in sizes:
        paid = _paid_for_ranks(scheme, size)
        demand((paid.diff() <= 0).all(), "reward order", f"{size} photos: {paid.tolist()}")
        if scheme.trajectory is not None:
            most = 1 if scheme.tau_normalized else size * (size - 1) / 2
            taus = torch.linspace(0, most, 9, dtype=torch.float64)
            pairs = torch.cartesian_prod(taus, taus).unbind(1)
            paid = _paid("for a trajectory", scheme.trajectory, *pairs).view(9, 9)  # [before, after]
            steady = (paid <= 0).all() and (paid.diff(dim=1) <= 0).all()
            demand(steady, "reward trajectory", f"taus up to {most:g} are paid {paid.tolist()}")


def _paid_for_ranks(scheme: RewardScheme, size: int) -> Tensor:
    """What the local part pays for ranks 1..size, in steps that are otherwise alike: float64 [size]."""
    ranks, local, where = torch.arange(1, size + 1), cast(Any, scheme.local), f"for {size} photos"
    if not scheme.sees_step:
        return _paid(where, lambda rank: local(rank, size), ranks)
    example, names = made_up(size), sorted(scheme.reads(size))

    def part(*fields: Tensor) -> Any:
        return local(Step(size, **{name: partial(_itself, x) for name, x in zip(names, fields, strict=True)}))

    _paid(where, part, *(getattr(example, name) for name in names), flat=True)
    alike = {name: getattr(example, name)[2:3] for name in names} | {"rank": ranks}
    fields = [alike[name].expand(size, *alike[name].shape[1:]) for name in names]
    return _paid(where, part, *fields, flat=True) if "rank" in names else torch.zeros(1)


def _itself(x: Tensor) -> Tensor:
    return x


def _paid(where: str, part: Callable[..., Any], *asked: Tensor, flat: bool = False) -> Tensor:
    """What a part of a reward pays: float64, once it has shown that it is a function of each number (row)."""
    given = [x.clone() for x in asked]
    paid: Tensor = part(*given)
    real = isinstance(paid, Tensor) and not paid.is_complex() and paid.shape == asked[0].shape[:1]
    demand(real and torch.isfinite(paid).all(), "reward numbers", f"{where}, it gives {paid!r}")
    demand(all(map(torch.equal, given, asked)), "reward inputs", f"{where}, they are overwritten")
    paid = paid.detach().double().clone()
    demand(torch.equal(part(*asked).double(), paid), "reward repeats", f"{where}, it is not so")
    others = {
        "one by one": torch.cat([part(*(x[i : i + 1] for x in asked)) for i in range(len(paid))]),
        "backwards": part(*(x.flip(0) for x in asked)).flip(0),
        "twice": part(*(torch.cat([x, x]) for x in asked))[len(paid) :],
        "in two rows": paid if flat else part(*(x.repeat(2, 1) for x in asked))[1],
    }
    for how, other in others.items():  # nearly: vector instructions may round the last bit otherwise
        same = other.shape == paid.shape and torch.allclose(other.double(), paid, rtol=1e-6)
        demand(same, "reward elementwise", f"{where}, asked {how}, it pays something else")
    return paid
