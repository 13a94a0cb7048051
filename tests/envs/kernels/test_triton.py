"""The Triton kernel counts as the torch version does: interpreted on a CPU, compiled on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sketchless.envs.kernels import cpu as kernels
from sketchless.envs.kernels.cpu import discordant_pairs_torch, ordering

values = st.one_of(st.sampled_from([-1.0, -0.0, 0.0, 1.0]), st.floats(-1, 1), st.sampled_from([-torch.inf, torch.inf]))


def lists(rows: int, size: int, distinct: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Two rankings int32 [rows, size] of lists with so many distinct numbers, both zeros among them."""
    random = torch.Generator().manual_seed(distinct)
    near = torch.randint(-distinct, distinct + 1, (2, rows, size), generator=random).double() * -0.5
    one, other = (ordering(side).to(device) for side in near)
    return one, other


SHAPES = [(0, 9, 2), (1, 1, 1), (3, 2, 1), (3, 63, 3), (3, 64, 10**9), (3, 65, 3), (2, 300, 100), (2, 300, 10**9)]


@settings(deadline=None, max_examples=40)  # a program of its own, without the fixtures' settings
@given(st.lists(st.tuples(values, values), min_size=1, max_size=80))
def equals_a_plain_loop(rows: list[tuple[float, float]]) -> None:
    from sketchless.envs.kernels.triton import discordant_pairs_triton

    a, b = zip(*rows, strict=True)
    photos = range(len(a))
    count = sum(a[i] < a[j] and b[i] > b[j] for i in photos for j in photos)
    one, other = (ordering(torch.tensor([side], dtype=torch.float64)) for side in (a, b))
    assert discordant_pairs_triton(one, other).tolist() == [count]


def equals_torch() -> None:
    from sketchless.envs.kernels.triton import discordant_pairs_triton

    for shape in SHAPES:
        one, other = lists(*shape)
        expected = discordant_pairs_torch(one, other)
        for layout in (Tensor.contiguous, lambda x: x.T.contiguous().T):
            found = discordant_pairs_triton(layout(one), layout(other))
            assert found.dtype == torch.int64
            assert torch.equal(found, expected), shape
    one, other = lists(3, 70, 3)
    shared = one[:1].expand(3, 70)
    assert torch.equal(discordant_pairs_triton(shared, other), discordant_pairs_torch(shared, other))


def test_interpreted_it_equals_a_plain_loop_and_torch() -> None:
    pytest.importorskip("triton")
    # The variable must be set before Triton is imported, and it may have been.
    found = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [*SHAPES, (1024, 300, 50), (16, 3000, 10**9)], ids=str)
def test_compiled_it_equals_torch(shape: tuple[int, int, int]) -> None:
    pytest.importorskip("triton")
    from sketchless.envs.kernels.triton import discordant_pairs_triton

    one, other = lists(*shape, device="cuda")
    assert torch.equal(discordant_pairs_triton(one, other), discordant_pairs_torch(one, other))
    assert kernels._discordant_pairs_on_gpu() is discordant_pairs_triton


def test_without_triton_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sketchless.envs.kernels.triton", None)
    kernels._discordant_pairs_on_gpu.cache_clear()
    assert kernels._discordant_pairs_on_gpu() is discordant_pairs_torch
    kernels._discordant_pairs_on_gpu.cache_clear()


if __name__ == "__main__":
    equals_a_plain_loop()
    equals_torch()
