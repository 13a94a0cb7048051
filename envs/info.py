"""The info of a step, the same in all environments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .core import Terms
from .ranking import percentile


def step_info(rank: Tensor, size: int, terms: Terms | None = None) -> dict[str, Any]:
    """What is told of a step: ranks int64 [B] among `size` photos, and what was paid. New tensors [B]."""
    paid = None if terms is None else {name: term.clone() for name, term in terms._asdict().items()}
    return {
        "rank": rank.clone(),
        "percentile": percentile(rank, size),
        "reciprocal_rank": 1 / rank.double(),
        "is_success": rank == 1,
    } | ({} if paid is None else {"reward_terms": paid})


def no_step_info(rows: int, device: torch.device, paid: bool = True) -> dict[str, Any]:
    """The same keys before a step: nothing is ranked yet, and all is 0."""
    ones = torch.ones(rows, dtype=torch.int64, device=device)
    return cleared(step_info(ones, 2, Terms(ones.double(), ones.double()) if paid else None), ones.bool())


def cleared(info: dict[str, Any], where: Tensor) -> dict[str, Any]:
    """0 and False in place of what is told `where` bool [B]."""
    return {
        name: cleared(value, where) if isinstance(value, dict) else value.masked_fill(where, 0)
        for name, value in info.items()
    }


def by_row(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Info of tensors [B] as B dicts of Python numbers."""
    columns = [by_row(value) if isinstance(value, dict) else value.tolist() for value in info.values()]
    return [dict(zip(info, values, strict=True)) for values in zip(*columns, strict=True)]
