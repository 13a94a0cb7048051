"""Rankings in full and how far apart they are: compiled on the CPU, torch and Triton elsewhere, equal everywhere.

A ranking is an int32 row of G codes, nearest photo first: code = 2 * photo + (1 if exactly as near as the
photo before it). Sorting dominates the cost, so callers keep a ranking and compare it more than once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.compiled import compiled

_CHUNK = 1 << 25  # pairs held at a time by the torch version
_MIN_SORT_PER_THREAD = 1 << 17  # photos to sort before a second thread pays
_CACHED = 1 << 15  # photos in a part of the rows, few enough to stay in the cache
_BUCKETS = 512  # photos from which buckets beat numpy's sort in vector registers
_PHOTO_BITS = 14  # of a key's 32; in a larger gallery too few would be left to tell similarities apart


def refine_rows(base: Tensor | None, action: Tensor, scale: float) -> Tensor | None:
    """`ranking.refine` on the CPU, in one pass with the same rounding."""
    shape = action.shape if base is None else torch.broadcast_shapes(base.shape, action.shape)
    rows = action.detach().expand(shape).reshape(-1, shape[-1]).contiguous().numpy()
    start = rows if base is None else base.expand(shape).reshape(rows.shape).contiguous().numpy()
    out = np.empty(rows.shape)
    return torch.from_numpy(out).reshape(shape) if _refine(start, rows, scale, base is not None, out) else None


def count_as_near(similarity: Tensor, target: Tensor) -> Tensor:
    """#{photos at least as near as the target}: int64 [M] of similarities [M, G] and columns int64 [M]."""
    if similarity.device.type != "cpu" or similarity.dtype != torch.float64:
        return (similarity >= similarity.gather(1, target.unsqueeze(1))).sum(dim=1)
    out = np.empty(len(similarity), dtype=np.int64)
    _count_as_near(similarity.detach().contiguous().numpy(), target.contiguous().numpy(), out)
    return torch.from_numpy(out)


def ordering(similarity: Tensor) -> Tensor:
    """Rankings int32 [M, G] of similarities [M, G], which must not be NaN."""
    if similarity.device.type != "cpu":
        return ordering_torch(similarity)
    values = similarity.detach().double().contiguous().numpy()
    out = np.empty(values.shape, dtype=np.int32)
    _in_threads(lambda rows: _order(values[rows], out[rows]), *values.shape)
    return torch.from_numpy(out)


def ordering_after(before: Tensor, similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Rankings [M, G] of similarities [M, G], and their `discordant_pairs` [M] with the rankings before them."""
    if similarity.device.type != "cpu":
        order = ordering(similarity)
        return order, discordant_pairs(before, order)
    old, values = before.contiguous().numpy(), similarity.detach().double().contiguous().numpy()
    out, count = np.empty(values.shape, dtype=np.int32), np.empty(len(values), dtype=np.int64)

    def work(rows: slice) -> None:
        _order(values[rows], out[rows])
        _count(old[rows], out[rows], count[rows])

    _in_threads(work, *values.shape)
    return torch.from_numpy(out), torch.from_numpy(count)


def discordant_steps(similarity: Tensor) -> Tensor:
    """`discordant_pairs` of each list of an episode with the next: int64 [M, T-1] of similarities [M, T, G]."""
    rows, steps, size = similarity.shape
    if similarity.device.type != "cpu":
        order = ordering(similarity.flatten(0, 1)).view(similarity.shape)
        pairs = discordant_pairs(order[:, :-1].reshape(-1, size), order[:, 1:].reshape(-1, size))
        return pairs.view(rows, steps - 1)
    values = similarity.detach().double().contiguous().numpy()
    out = np.empty((rows, steps - 1), dtype=np.int64)

    def work(part: slice) -> None:
        every = values[part].reshape(-1, size)
        lists, count = np.empty(every.shape, dtype=np.int32), np.empty(len(every), dtype=np.int64)
        _order(every, lists)
        _count(lists[:-1], lists[1:], count[1:])  # from one episode to the next as well, which nobody asks for
        out[part] = count.reshape(-1, steps)[:, 1:]

    _in_threads(work, rows, steps * size)
    return torch.from_numpy(out)


def _order(values: npt.NDArray[np.float64], out: npt.NDArray[np.int32]) -> None:
    """`ordering` by short keys, which are sorted many times faster than floats are argsorted."""
    bits = max((values.shape[1] - 1).bit_length(), 1)
    done = np.full(len(values), bits <= _PHOTO_BITS)
    if bits <= _PHOTO_BITS:
        keys = np.empty(values.shape, dtype=np.uint32)
        _pack(values, values.view(np.int64), bits, keys)
        if values.shape[1] < _BUCKETS:
            keys.sort(axis=1)
        else:
            keys = _sorted_in_buckets(keys, np.uint32(31 - bits), done)
        _unpack(keys, values, bits, out, done)
    for r in np.flatnonzero(~done):
        photo = np.argsort(-values[r], kind="stable").astype(np.int32)
        out[r] = 2 * photo
        out[r, 1:] += values[r, photo[1:]] == values[r, photo[:-1]]


def discordant_pairs(order_a: Tensor, order_b: Tensor) -> Tensor:
    """#{photo pairs that two rankings order differently, neither tying them}: int64 [M] of rankings [M, G]."""
    if order_a.device.type != "cpu":
        count = _discordant_pairs_on_gpu() if order_a.is_cuda else discordant_pairs_torch
        return count(order_a, order_b)
    a, b = order_a.contiguous().numpy(), order_b.contiguous().numpy()
    out = np.empty(len(a), dtype=np.int64)
    _in_threads(lambda rows: _count(a[rows], b[rows], out[rows]), *a.shape)
    return torch.from_numpy(out)


@cache
def _discordant_pairs_on_gpu() -> Callable[[Tensor, Tensor], Tensor]:
    """The count by Triton where it works, else by torch."""
    try:
        from .triton import discordant_pairs_triton

        discordant_pairs_triton(*torch.zeros(2, 1, 1, dtype=torch.int32, device="cuda"))
    except Exception:  # not installed, or without the compiler, headers or driver it looks for at its first call
        return discordant_pairs_torch
    return discordant_pairs_triton


def ordering_torch(similarity: Tensor) -> Tensor:
    """The readable version of `ordering`, for any device."""
    values, photo = similarity.sort(dim=1, descending=True, stable=True)
    tied = torch.zeros_like(photo, dtype=torch.bool)
    tied[:, 1:] = values[:, 1:] == values[:, :-1]
    return (2 * photo + tied).int()


def discordant_pairs_torch(order_a: Tensor, order_b: Tensor) -> Tensor:
    """The readable version of `discordant_pairs`, for any device: all pairs at once, in chunks of rows."""
    rows = max(_CHUNK // order_a.shape[1] ** 2, 1)
    counts = [
        # Of the pairs (i, j) and (j, i) exactly one rises in x.
        ((x.unsqueeze(2) < x.unsqueeze(1)) & (y.unsqueeze(2) > y.unsqueeze(1))).sum(dim=(1, 2))
        for x, y in zip(_places(order_a).split(rows), _places(order_b).split(rows), strict=True)
    ]
    return torch.cat(counts) if counts else torch.zeros(0, dtype=torch.int64, device=order_a.device)


def _places(order: Tensor) -> Tensor:
    """Place of each photo, equal for ties: int64 [M, G]."""
    place = (1 - (order & 1)).cumsum(dim=1)
    return torch.zeros_like(place).scatter_(1, (order >> 1).long(), place)


def _in_threads(work: Callable[[slice], None], rows: int, size: int) -> None:
    """Do `work` on all rows, in parts; other threads take some of them where that pays."""
    step = max(_CACHED // max(size, 1), 1)
    parts = iter([slice(i, min(i + step, rows)) for i in range(0, rows, step)])

    def take() -> None:
        for part in parts:
            work(part)

    helpers = min(torch.get_num_threads(), rows * size // _MIN_SORT_PER_THREAD + 1) - 1
    others = [_pool(os.getpid()).submit(take) for _ in range(helpers)]
    take()
    for other in others:
        other.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(thread_name_prefix="sketchless")


@compiled
def _count_as_near(similarity, target, out):  # type: ignore[no-untyped-def]
    for r in range(similarity.shape[0]):
        row, near = similarity[r], 0
        own = row[target[r]]
        for i in range(row.shape[0]):
            near += row[i] >= own
        out[r] = near


_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)  # the bits of a float64 without its sign: as integers they keep its order
_ONE, _TINY, _INFINITE = (np.array(x).view(np.int64)[()] for x in (1.0, np.finfo(np.float64).tiny, np.inf))


@compiled
def _refine(base, action, scale, residual, out):  # type: ignore[no-untyped-def]
    size = out.shape[1]
    refined, whole, longest = np.empty(size, np.float64), np.empty(size, np.int64), np.empty(1, np.float64)
    action_bits, refined_bits, longest_bits = action.view(np.int64), refined.view(np.int64), longest.view(np.int64)
    for r in range(out.shape[0]):
        top = _ONE
        for i in range(size):
            top = max(top, action_bits[r, i] & _MAGNITUDE)
        if top >= _INFINITE:
            return False
        longest_bits[0] = top
        box = longest[0]
        for i in range(size):
            refined[i] = action[r, i] / box
        if residual:
            for i in range(size):
                refined[i] = base[r, i] + scale * refined[i]
        # From here on as `ranking.unit`.
        top = _TINY
        for i in range(size):
            top = max(top, refined_bits[i] & _MAGNITUDE)
        longest_bits[0] = top
        unit = longest[0]
        squares = np.int64(0)
        for i in range(size):
            number = np.int64(np.rint(refined[i] / unit * 2.0**25))
            whole[i] = number
            squares += number * number
        length = max(np.sqrt(np.float64(squares)), 1.0)
        for i in range(size):
            out[r, i] = np.rint(whole[i] / length * 2.0**26) / 2.0**26
    return True


# A key is a uint32: high bits for how far the photo is on the scale of its list, low bits for the photo. Where
# that scale is too coarse to tell photos apart, the similarities themselves decide.


@compiled
def _pack(values, value_bits, bits, out):  # type: ignore[no-untyped-def]
    most = np.float64((np.int64(1) << (32 - bits)) - 1)
    ends = np.empty(2, np.float64)
    end_bits = ends.view(np.int64)
    for r in range(out.shape[0]):
        row = values[r]
        low, high = _MAGNITUDE, ~_MAGNITUDE
        for i in range(row.size):
            number = value_bits[r, i]
            number = number ^ ((number >> 63) & _MAGNITUDE)  # the order of floats as that of integers
            low, high = min(low, number), max(high, number)
        end_bits[0], end_bits[1] = low ^ ((low >> 63) & _MAGNITUDE), high ^ ((high >> 63) & _MAGNITUDE)
        nearest, width = ends[1], ends[1] - ends[0]
        scale = most / width if width > 0 else 0.0
        if not scale < np.inf or not width < np.inf:
            nearest, scale = 0.0, 0.0
        for i in range(row.size):
            out[r, i] = np.int64((nearest - row[i]) * scale) << bits | i


@compiled
def _sorted_in_buckets(keys, shift, done):  # type: ignore[no-untyped-def]
    """Keys in twice as many buckets as photos, then each moved to its place; not `done` where one holds too many."""
    out, end = np.empty_like(keys), np.empty(1 << (np.int64(32) - shift), np.uint16)
    size = keys.shape[1]
    for r in range(keys.shape[0]):
        key, row = keys[r], out[r]
        end[:] = 0
        for i in range(size):
            end[key[i] >> shift] += 1
        before = np.uint16(0)
        for bucket in range(end.size):
            count = end[bucket]
            end[bucket] = before
            before += count
        for i in range(size):
            bucket = key[i] >> shift
            row[end[bucket]] = key[i]
            end[bucket] += 1
        moves = 0
        for i in range(1, size):
            number, j = row[i], i
            while j > 0 and row[j - 1] > number:
                row[j] = row[j - 1]
                j -= 1
            row[j] = number
            moves += i - j
            if moves > 8 * size:
                done[r] = False
                break
    return out


@compiled
def _unpack(keys, values, bits, out, done):  # type: ignore[no-untyped-def]
    """The codes of sorted keys; not `done` where the similarities had to decide too often."""
    low = np.uint32((np.int64(1) << bits) - 1)
    size = keys.shape[1]
    for r in range(keys.shape[0]):
        key, codes, similarity = keys[r], out[r], values[r]
        collision = False
        for i in range(size):
            codes[i] = np.int32(key[i] & low) << 1
        for i in range(1, size):
            collision |= (key[i] ^ key[i - 1]) <= low
        if not collision:
            continue
        moves = 0
        for i in range(1, size):
            if (key[i] ^ key[i - 1]) > low:
                continue
            code, j = codes[i], i
            while j > 0 and (key[i] ^ key[j - 1]) <= low and similarity[codes[j - 1] >> 1] < similarity[code >> 1]:
                codes[j] = codes[j - 1]
                j -= 1
            codes[j] = code
            moves += i - j
            if moves > size:
                done[r] = False
                break
        for i in range(size - 1, 0, -1):
            if (key[i] ^ key[i - 1]) <= low:
                codes[i] |= similarity[codes[i] >> 1] == similarity[codes[i - 1] >> 1]


@compiled
def _popcount(word):  # type: ignore[no-untyped-def]
    """Bits set in a uint64; the compiler knows this idiom and makes one instruction of it."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def _count_untied(a, place, met, above):  # type: ignore[no-untyped-def]
    """`_count` of one ranking a without ties, given each photo's place in a ranking b without ties."""
    total = np.int64(0)
    for k in range(a.size):
        spot = np.uint64(place[a[k] >> 1])
        word, bit = spot >> np.uint64(6), spot & np.uint64(63)
        before = met[word]
        total += above[word] + _popcount(before >> bit)
        met[word] = before | (np.uint64(1) << bit)
        beyond = np.int32(word)
        for w in range(above.size):
            above[w] += np.int32(np.int32(w) < beyond)
    return total


@compiled
def _count(order_a, order_b, out):  # type: ignore[no-untyped-def]
    """Walk through ranking a; for each photo count those met before that stand behind it in ranking b.

    Photos met are bits at their places in b, in words of 64; `above[w]` counts those in words beyond w. Ties
    of a are counted before any of them is marked as met, ties of b stand before the end of their group.
    """
    size = order_a.shape[1]
    words = size // 64 + 1
    padded = (words + 15) // 16 * 16  # whole vector registers
    met, above = np.empty(words, np.uint64), np.empty(padded, np.int32)
    place, end = np.empty(size, np.int32), np.empty(size, np.int32)
    for r in range(order_a.shape[0]):
        a, b = order_a[r], order_b[r]
        met[:], above[:] = 0, 0
        total, tied = np.int64(0), 0
        for k in range(size):
            place[b[k] >> 1] = k
            tied |= (a[k] | b[k]) & 1
        if not tied:  # the usual case
            out[r] = _count_untied(a, place, met, above)
            continue
        i = 0
        while i < size:
            j = i + 1
            while j < size and b[j] & 1:
                j += 1
            for k in range(i, j):
                place[b[k] >> 1], end[b[k] >> 1] = k, j
            i = j
        i = 0
        while i < size:
            j = i + 1
            while j < size and a[j] & 1:
                j += 1
            for k in range(i, j):
                first = end[a[k] >> 1]
                word = first >> 6
                total += above[word] + _popcount(met[word] >> np.uint64(first & 63))
            for k in range(i, j):
                spot = place[a[k] >> 1]
                word = spot >> 6
                met[word] |= np.uint64(1) << np.uint64(spot & 63)
                for w in range(padded):
                    above[w] += w < word
            i = j
        out[r] = total
