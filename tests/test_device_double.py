"""The stand-in for a GPU behaves as one where it matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from .device_double import Double, Waits, device_double, numbers


@pytest.fixture
def waits() -> Iterator[Waits]:
    with device_double() as noted:
        yield noted


def test_tensors_say_where_they_are_and_go_there_and_back(waits: Waits) -> None:
    for x in (torch.zeros(3, device="cuda"), torch.ones(3).to("cuda"), torch.ones(3).cuda(), torch.ones(3).to(0)):
        assert (str(x.device), str((2 * x)[1:].device), x.is_cuda) == ("cuda:0", "cuda:0", True)
    assert waits.take() == []
    assert not isinstance(torch.zeros(3, device="cuda").cpu(), Double)
    assert [line.split()[-3:] for line in waits.take()] == [["to", "the", "host"]]


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.ones(3) @ x,
        lambda x: torch.cat([x, torch.ones(3)]),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: torch.where(torch.ones(3).bool(), x, x),
        torch.nn.Linear(3, 2),
        lambda x: x.add_(torch.ones(3)),
    ],
)
def test_devices_do_not_mix(waits: Waits, mixed: Callable[[Tensor], Any]) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        mixed(torch.zeros(3, device="cuda"))


def test_a_single_number_of_the_host_is_no_mix(waits: Waits) -> None:
    assert numbers(torch.zeros(3, device="cuda") + torch.tensor(2.0)).tolist() == [2, 2, 2]
    assert waits.take() == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: bool(x[0]),
        lambda x: float(x[0]),
        lambda x: x[0].item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.numpy(force=True),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
    ],
)
def test_every_wait_is_noted_with_its_line(waits: Waits, ask: Callable[[Tensor], Any]) -> None:
    ask(torch.ones(3, device="cuda"))
    (line,) = waits.take()
    assert line.startswith("test_device_double.py:")


def test_numpy_wants_a_copy_to_the_host(waits: Waits) -> None:
    with pytest.raises(TypeError, match="cpu"):
        torch.ones(3, device="cuda").numpy()


def test_random_numbers_need_a_generator_of_the_device(waits: Waits) -> None:
    there, here = torch.Generator("cuda").manual_seed(0), torch.Generator().manual_seed(0)
    assert torch.equal(torch.randn(4, generator=there, device="cuda").cpu(), torch.randn(4, generator=here))
    for generator, device in ((there, "cpu"), (here, "cuda")):
        with pytest.raises(RuntimeError, match="generator"):
            torch.randn(4, generator=generator, device=device)


def test_networks_learn_there_what_they_learn_on_the_cpu(waits: Waits) -> None:
    def learned(device: str) -> list[Any]:
        layer = torch.nn.utils.skip_init(torch.nn.Linear, 4, 2)
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        before = list(layer.parameters())
        layer = layer.to(device)
        assert all(p is q for p, q in zip(layer.parameters(), before, strict=True))
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, fused=True)
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).to(device)
        for _ in range(3):
            optimizer.zero_grad()
            layer(x).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
            optimizer.step()
        return [numbers(p).tolist() for p in layer.parameters()]

    assert learned("cuda") == learned("cpu")
    assert waits.take() == []


def test_outside_there_is_no_such_device() -> None:
    with device_double():
        pass
    assert torch.cuda.is_available() == (torch.version.cuda is not None and torch.cuda.device_count() > 0)
    assert type(torch.Generator()).__name__ == "Generator"
