"""Exact ranks in a gallery too big to be searched in one piece: in blocks on a device, in parts on processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from sketchless.datasets.checks import as_count
from sketchless.datasets.errors import ConfigError, DataError, SketchlessError
from sketchless.encoders.device import resolve_device
from sketchless.encoders.gallery import not_unit

from .ranking import similarity, snap, unit

Part = Tensor | np.ndarray[Any, Any]

_QUERIES, _READ = 64, 1 << 14  # queries looked for side by side, rows made ready at a time


class ShardedGallery:
    """Photos [G, d] in parts: ranks and nearest photos as if they lay in one piece, whatever the parts.

    Counts of nearer photos add up, and similarities are free of rounding (see `ranking.similarity`), so no part
    can disagree with another. Takes 8 * G * d bytes and one block.

    With a `group` each of its processes holds the rows that follow those of the process before it, and all
    must make the same calls with the same queries: a call waits for all and gives all the same answer.

    Args:
        parts: unit embeddings, float [g, d] each: a tensor, an array (also a `numpy.memmap`, read piece by
            piece) or a sequence of them, in the order of their rows. With a `group`: those of this process.
        device: where to keep and search them: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"` ...
        group: processes that share the gallery, such as `torch.distributed.group.WORLD` once
            `init_process_group` has returned; None for this process alone.
        block: similarities held at a time; None for what fits a core's cache, or fills a GPU.

    Raises:
        DataError: no photo at all, parts of different width, or a row whose length is not 1.
        ConfigError: no such device, or a block that is no whole number of 1 or more.
    """

    def __init__(
        self,
        parts: Part | Sequence[Part],
        device: str | torch.device = "cpu",
        group: dist.ProcessGroup | None = None,
        block: int | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self._group = group
        fitting = 1 << 17 if self.device.type == "cpu" else 1 << 26
        self._block = fitting if block is None else as_count("block", block, 1)
        try:
            self._rows = _read([parts] if isinstance(parts, (Tensor, np.ndarray)) else parts, self.device)
        except SketchlessError:
            self._gather(torch.tensor([0, 0], device=self.device))  # the others wait for this part
            raise
        shapes = [x.tolist() for x in self._gather(torch.tensor(self._rows.shape, device=self.device))]
        if len({width for _, width in shapes}) > 1:
            raise DataError(f"gallery parts of shapes {shapes} by process: want one width ([0, 0]: see its own error)")
        self._size: int = sum(size for size, _ in shapes)
        if not self._size:
            raise DataError("the gallery holds no photo")
        self._first = sum(size for size, _ in shapes[: 0 if group is None else dist.get_rank(group)])

    def __len__(self) -> int:
        """G, over all parts and processes."""
        return self._size

    def rank(self, queries: Tensor, target: Tensor) -> Tensor:
        """Rank int64 [...] of each query's own photo, 1..G: `ranking.target_rank` over the whole gallery.

        Args:
            queries: [..., d] from `ranking.unit`; others of length 1 go through `snap`.
            target: integer [...], row in the whole gallery.

        Raises:
            DataError: a query that is not finite, or longer than 1.
            ConfigError: shapes that do not match, or a target outside the gallery.
        """
        flat = self._flat(queries)
        own = self._own(flat, queries, target)
        count = torch.zeros(len(flat), dtype=torch.int64, device=self.device)
        for some, _, near in self._blocks(flat):
            count[some] += (near >= own[some]).sum(dim=1)
        return self._add(count).reshape(target.shape)

    def similarity(self, queries: Tensor, target: Tensor) -> Tensor:
        """How near each query is to its own photo: similarity float64 [...]. Arguments and errors as `rank`."""
        return self._own(self._flat(queries), queries, target).reshape(target.shape)

    def top_k(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k nearest photos of each query, nearest first, equally near ones by row.

        Returns:
            similarity float64 [..., k] and row int64 [..., k] in the whole gallery, of queries [..., d].

        Raises:
            DataError: as `rank`. ConfigError: queries of another width, or k outside 1..G.
        """
        flat, k = self._flat(queries), as_count("k", k, 0)
        if not 1 <= k <= len(self):
            raise ConfigError(f"k={k}: must be in 1..{len(self)}, the photos of the gallery")
        best = torch.full((len(flat), k), -torch.inf, dtype=torch.float64, device=self.device)
        rows = torch.full((len(flat), k), -1, dtype=torch.int64, device=self.device)
        for some, first, near in self._blocks(flat):
            # Few blocks have something to add. What is merely as near as the last comes after it, by row.
            which = (near.amax(dim=1) > best[some, -1]).nonzero().squeeze(1)
            if len(which):
                block = torch.arange(first, first + near.shape[1], device=self.device).expand(len(which), -1)
                at = which + some.start
                best[at], rows[at] = _nearest([best[at], near[which]], [rows[at], block], k)
        best, rows = _nearest(self._gather(best), self._gather(rows), k)
        return best.reshape(*queries.shape[:-1], k), rows.reshape(*queries.shape[:-1], k)

    def _own(self, flat: Tensor, queries: Tensor, target: Tensor) -> Tensor:
        """Similarities float64 [M, 1] of queries and targets [...], the queries also `flat`."""
        if queries.shape[:-1] != target.shape:
            raise ConfigError(f"target {tuple(target.shape)} does not fit queries {tuple(queries.shape)}")
        if target.numel() and not (target.min() >= 0 and target.max() < len(self)):
            raise ConfigError(f"a target lies outside the gallery of {len(self)} photos")
        row = target.reshape(-1).long() - self._first
        here = (row >= 0) & (row < len(self._rows))
        own = torch.zeros(len(flat), 1, dtype=torch.float64, device=self.device)
        own[here] = (flat[here] * self._rows[row[here]]).sum(dim=1, keepdim=True)
        return self._add(own)  # one process has it, the others add zero

    def _flat(self, queries: Tensor) -> Tensor:
        """Checked and snapped queries float64 [M, d]."""
        width = self._rows.shape[1]
        if queries.shape[-1:] != (width,):
            raise ConfigError(f"queries {tuple(queries.shape)}: want [..., {width}] as in the gallery")
        flat = queries.detach().double()
        lengths = flat.norm(dim=-1)
        for place in (~(lengths < 1 + 1e-3)).nonzero()[:1].tolist():  # also NaN; longer ones are not exact
            raise DataError(f"query {place} has length {float(lengths[tuple(place)]):g}: want finite ones of length 1")
        return snap(flat).reshape(-1, width)

    def _blocks(self, flat: Tensor) -> Iterator[tuple[slice, int, Tensor]]:
        """Which queries, first row in the whole gallery and similarities, for each block of this process."""
        for start in range(0, len(flat), _QUERIES):
            some = slice(start, min(start + _QUERIES, len(flat)))
            rows = max(self._block // (some.stop - start), 1)
            for first in range(0, len(self._rows), rows):
                yield some, self._first + first, similarity(flat[some], self._rows[first : first + rows])

    def _add(self, x: Tensor) -> Tensor:
        """The sum over all processes."""
        return torch.stack(self._gather(x)).sum(dim=0)

    def _gather(self, x: Tensor) -> list[Tensor]:
        """The tensors of all processes, in the order of their rows."""
        if self._group is None:
            return [x]
        everyone = [torch.empty_like(x) for _ in range(dist.get_world_size(self._group))]
        dist.all_gather(everyone, x, group=self._group)
        return everyone


def _read(parts: Sequence[Part], device: torch.device) -> Tensor:
    """Parts in one piece on the exact grid: float64 [G, d]."""
    shapes = [tuple(part.shape) for part in parts] or [(0, 0)]
    if any(len(shape) != 2 or shape[1] != shapes[0][-1] for shape in shapes):
        raise DataError(f"gallery parts of shapes {sorted(set(shapes))}: want [g, d] with one width d")
    rows = torch.empty(sum(size for size, _ in shapes), shapes[0][1], dtype=torch.float64, device=device)
    done = 0
    for part in parts:
        for start in range(0, len(part), _READ):
            piece = part[start : start + _READ]
            vectors = (piece if isinstance(piece, Tensor) else torch.tensor(piece)).detach().to(device).double()
            if place := not_unit(vectors):
                length = float(vectors[place].norm())
                raise DataError(f"gallery row {done + place[0]} has length {length:g} instead of 1; encode it again")
            rows[done : done + len(piece)] = unit(vectors)
            done += len(piece)
    return rows


def _nearest(near: list[Tensor], rows: list[Tensor], k: int) -> tuple[Tensor, Tensor]:
    """The k best [M, k] of candidates [M, any], which stand in the order of their rows where equally near."""
    best, order = torch.cat(near, dim=1).sort(dim=1, descending=True, stable=True)
    return best[:, :k], torch.cat(rows, dim=1).gather(1, order[:, :k])
