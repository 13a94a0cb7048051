"""The stand-in for CUDA graphs behaves as they do where it matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from .device_double import Waits, device_double, numbers

Work = Callable[[Tensor], Any]


@pytest.fixture(autouse=True)
def waits() -> Iterator[Waits]:
    with device_double() as noted:
        yield noted


def captured(work: Callable[[], Tensor], *known: torch.Generator) -> tuple[Any, Tensor]:
    graph = torch.cuda.CUDAGraph()
    for generator in known:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
        found = work()
    return graph, found


def test_a_capture_changes_nothing_and_a_replay_reads_and_writes_the_same_memory() -> None:
    x, total = torch.ones(3, device="cuda"), torch.zeros(3, device="cuda")

    def work() -> Tensor:
        padded = torch.zeros(3, device="cuda")  # anew each time
        padded[1:] += 2 * x[1:]
        total.add_(padded)
        return padded.sum()

    graph, found = captured(work)
    assert numbers(total).tolist() == [0, 0, 0]
    assert numbers(found.isnan())  # not there yet
    for value in (1, 2):
        x.fill_(value)
        graph.replay()
        assert numbers(found) == 4 * value
    assert numbers(total).tolist() == [0, 6, 6]


def test_a_number_of_python_is_stale_and_one_of_the_device_is_not() -> None:
    x, rate, host, scale = torch.ones(2, device="cuda"), torch.zeros((), device="cuda"), torch.tensor(3.0), 3.0
    graph, found = captured(lambda: x * scale + x * rate + x * host)
    scale = 5.0
    host.fill_(5.0)
    rate.fill_(1.0)
    graph.replay()
    assert numbers(found).tolist() == [7, 7]


def test_a_branch_is_that_of_the_capture() -> None:
    x, up = torch.ones(2, device="cuda"), True
    graph, found = captured(lambda: x + 1 if up else x - 1)
    up = False
    graph.replay()
    assert numbers(found).tolist() == [2, 2]


def test_noise_is_what_it_would_be_without_a_graph() -> None:
    here, there = (torch.Generator("cuda").manual_seed(0) for _ in range(2))
    graph, found = captured(lambda: torch.randn(3, generator=here, device="cuda") + 1, here)
    for _ in range(2):
        graph.replay()
        assert torch.equal(found.cpu(), torch.randn(3, generator=there, device="cuda").cpu() + 1)
    with pytest.raises(RuntimeError, match="not in capture mode"):
        captured(lambda: torch.randn(3, generator=here, device="cuda"))


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x[0] > 0),
        lambda x: x[x > 0],
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x + torch.ones(3).to("cuda"),
        lambda x: x + torch.tensor([1.0, 2.0, 3.0], device="cuda"),
        lambda x: x.copy_(torch.zeros(3)),
    ],
)
def test_waits_and_copies_from_the_host_are_refused(work: Work) -> None:
    x = torch.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        captured(lambda: work(x))
    work(x)  # outside it is allowed


def learned(steps: int, graphed: bool, **settings: Any) -> Any:
    """Weights after so many steps; of a graph one before the capture, the others by replays."""
    layer = torch.nn.utils.skip_init(torch.nn.Linear, 4, 2)
    torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    layer.to("cuda")
    x = torch.randn(5, 4, generator=torch.Generator("cuda").manual_seed(0), device="cuda")
    optimizer = torch.optim.Adam(layer.parameters(), fused=True, **settings)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = layer(x).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    step()
    replay = captured(step)[0].replay if graphed else step
    for _ in range(steps - 1):
        replay()
    return [numbers(p).tolist() for p in layer.parameters()]


def test_networks_learn_the_same_in_a_graph() -> None:
    rate = torch.tensor(0.125, device="cuda")
    found = learned(4, True, lr=rate, capturable=True)
    assert found == learned(4, False, lr=0.125)
    assert found != learned(3, False, lr=0.125)


def test_an_optimiser_has_to_be_made_for_it() -> None:
    with pytest.raises(RuntimeError, match="capturable is False"):
        learned(2, True, lr=0.1)
    with pytest.raises(RuntimeError, match="expected scalar type Float"):
        learned(2, False, lr=torch.tensor(0.1, dtype=torch.float64, device="cuda"))
