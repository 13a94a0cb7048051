from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.encoders import LOSSES
from sketchless.encoders.losses import contrastive, triplet, triplet_squared

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def loop_triplet(sketch: Tensor, photo: Tensor, target: Tensor, margin: float) -> float:
    terms = []
    for i in range(len(sketch)):
        for j in range(len(photo)):
            if target[i] != target[j]:
                near, far = math.dist(sketch[i], photo[i]), math.dist(sketch[i], photo[j])
                terms.append(max(0.0, margin + near - far))
    return sum(terms) / len(terms)


def loop_contrastive(sketch: Tensor, photo: Tensor, target: Tensor, temperature: float) -> float:
    total, n = 0.0, len(sketch)
    for query, answers in ((sketch, photo), (photo, sketch)):
        for i in range(n):
            rivals = [j for j in range(n) if j == i or target[j] != target[i]]
            weights = {j: math.exp(float(query[i] @ answers[j]) / temperature) for j in rivals}
            total -= math.log(weights[i] / sum(weights.values()))
    return total / (2 * n)


def pairs(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sketch, photo = normalize(torch.randn(2, n, 3, generator=generator, dtype=torch.float64), dim=-1)
    return sketch, photo, torch.randint(n // 2, (n,), generator=generator)


def test_triplet_by_hand() -> None:
    sketch, photo = torch.tensor([EAST, WEST]), torch.tensor([EAST, NORTH])
    # row 0: near 0, far sqrt 2, so 0.3 - 1.414 < 0 -> 0; row 1: near sqrt 2, far 2, so 0.3 + 1.414 - 2 < 0 -> 0
    assert triplet(sketch, photo, torch.tensor([0, 1])).item() == 0
    # the photos change places: near sqrt 2, far 0 -> 0.3 + 1.414; near 2, far sqrt 2 -> 0.3 + 2 - 1.414; mean 1.3
    assert triplet(sketch, photo.flip(0), torch.tensor([0, 1])).item() == pytest.approx(1.3, abs=1e-3)


def test_squared_triplet_by_hand() -> None:
    sketch, photo = torch.tensor([EAST, WEST]), torch.tensor([EAST, NORTH])
    # row 0: near 0, far 2, so 0.3 - 2 < 0 -> 0; row 1: near 2, far 4, so 0.3 + 2 - 4 < 0 -> 0
    assert triplet_squared(sketch, photo, torch.tensor([0, 1])).item() == 0
    # the photos change places: near 2, far 0 -> 2.3; near 4, far 2 -> 2.3; mean 2.3
    assert triplet_squared(sketch, photo.flip(0), torch.tensor([0, 1])).item() == pytest.approx(2.3)
    # row 0: near 0, far 2 -> 0; row 1: near 2, far 0 -> 2.3
    sketch, photo = torch.tensor([EAST, EAST]), torch.tensor([EAST, NORTH])
    assert triplet_squared(sketch, photo, torch.tensor([0, 1])).item() == pytest.approx(1.15)


def test_contrastive_by_hand() -> None:
    sketch = photo = torch.tensor([EAST, NORTH])
    # logits 1 and 0 at temperature 1, both ways: log(1 + 1/e)
    loss = contrastive(sketch, photo, torch.tensor([0, 1]), temperature=1.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_losses_equal_plain_loops(seed: int) -> None:
    sketch, photo, target = pairs(9, seed)
    assert triplet(sketch, photo, target).item() == pytest.approx(loop_triplet(sketch, photo, target, 0.3), abs=1e-9)
    expected = loop_contrastive(sketch, photo, target, 0.07)
    assert contrastive(sketch, photo, target).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("name", "cost"), [("triplet", 0.3), ("triplet-squared", 0.3), ("contrastive", math.log(2))])
def test_another_sketch_of_the_same_photo_is_no_negative(name: str, cost: float) -> None:
    sketch, photo = torch.tensor([EAST, EAST]), torch.tensor([NORTH, NORTH])
    # two photos that look alike cannot be told apart: the margin, or a toss-up
    assert LOSSES[name](sketch, photo, torch.tensor([0, 1])).item() == pytest.approx(cost)
    assert LOSSES[name](sketch, photo, torch.tensor([1, 1])).item() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_finite_where_sketch_and_photo_coincide(name: str) -> None:
    photo = torch.tensor([EAST, NORTH, WEST])
    sketch = photo.clone().requires_grad_()
    LOSSES[name](sketch, photo, torch.arange(3)).backward()
    assert sketch.grad is not None
    assert torch.isfinite(sketch.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_batch_without_negatives_costs_nothing(name: str) -> None:
    sketch = torch.tensor([EAST, NORTH], requires_grad=True)
    loss = LOSSES[name](sketch, torch.tensor([NORTH, EAST]), torch.tensor([3, 3]))
    loss.backward()
    assert loss.item() == 0
    assert sketch.grad is not None
    assert not sketch.grad.any()
