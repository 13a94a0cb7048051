"""What may go wrong in an update, found on the device and read by the host in one piece."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sketchless.encoders.bank import EpisodeBank

from .batch import Batch

Name = TypeVar("Name")
Numbers = Mapping[str, float | Tensor]  # tensors of one number stay on the device until all are read


def read(values: Mapping[Name, float | Tensor]) -> dict[Name, float]:
    """The same as plain numbers; those on the device come in one copy, so the host waits once."""
    on_device = [value.detach().double() for value in values.values() if isinstance(value, Tensor)]
    numbers = iter(torch.stack(on_device).tolist() if on_device else ())
    return {name: next(numbers) if isinstance(value, Tensor) else value for name, value in values.items()}


def finite(action: Tensor) -> Tensor:
    """With 0 for what is not finite, which no action may be: on a GPU the process would be lost. It is found later."""
    return action.nan_to_num(0.0, 0.0, 0.0)


def checks(batch: Batch, descents: list[Tensor], modules: Iterable[nn.Module]) -> dict[str, Tensor]:
    """What has to be finite, to be `read`: the batch, loss and gradient [2] of every step, and the weights."""
    weights = [p.detach().isfinite().all() for module in modules for p in module.parameters()]
    found = {"check/batch": batch.action.isfinite().all() & batch.reward.isfinite().all()}
    for i, descent in enumerate(descents):
        found |= {f"check/loss {i}": descent[0], f"check/gradient {i}": descent[1]}
    return found | {"check/weights": torch.stack(weights).all()}


def fault(found: Mapping[str, float]) -> str | None:
    """What is wrong with an update, in words, by what was `read` of its `checks`."""
    if not found["check/batch"]:
        return "an observation, action or reward is not finite"
    for i in range(sum(name.startswith("check/loss ") for name in found)):
        loss, norm = found[f"check/loss {i}"], found[f"check/gradient {i}"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return f"loss {loss:g}, gradient {norm:g}"
    return None if found["check/weights"] else "the update gave weights that are not finite"


def fault_of_batch(batch: Batch, bank: EpisodeBank) -> str | None:
    """The first step of a batch that is not finite, in words. The host waits."""
    for what, fine in (
        ("observation or action", batch.action.isfinite().all(dim=-1).all(dim=0)),
        ("reward", batch.reward.isfinite().all(dim=0)),
    ):
        for env, step in (~fine).nonzero()[:1].tolist():
            where = f"{what} of drawing {env} of the batch ({bank.sketch_ids[int(batch.sketches[env])]})"
            return f"{where} is not finite in step {step + 1}"
    return None


def copied(state: Any) -> Any:
    """A `state_dict` with tensors of its own, in a tenth of the time of `copy.deepcopy`."""
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [copied(value) for value in state]
    return state.clone() if isinstance(state, Tensor) else state
