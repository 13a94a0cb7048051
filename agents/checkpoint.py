"""All of an agent in one file, so that training goes on from it as if it had never stopped."""

from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor

from sketchless.datasets.errors import CheckpointError, ConfigError, DataError
from sketchless.encoders.tensorfile import load_tensors, load_weights, save_tensors


def save_agent(agent: Any, path: str | os.PathLike[str]) -> None:
    """Write modules, optimisers, random state, counters and the best policy; see `Agent.save`."""
    tensors = {f"best/{k}": v for k, v in agent._best.weights.items()}
    for name, module in agent.modules.items():
        tensors |= {f"module/{name}/{k}": v for k, v in module.state_dict().items()}
    for name, optimizer in agent.optimizers.items():
        for i, parameter in enumerate(_parameters(optimizer)):
            tensors |= {f"optimizer/{name}/{i}/{k}": v for k, v in optimizer.state[parameter].items()}
    tensors |= {f"start/{i}": v for i, v in enumerate(agent._start)}
    if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise DataError(f"{path}: not written, {broken[0]} holds NaN or infinity; use an earlier file")
    tensors |= {"random": agent.generator.get_state(), "queue": agent._queue}
    best = agent._best
    meta = {
        "agent": agent.name,
        "config": asdict(agent.config),
        "core": _kind(agent),
        "counters": {"timesteps": agent.num_timesteps, "updates": agent.n_updates, "budget": agent._budget},
        "numbers": agent.numbers,
        "best": _best_meta(best),
        "last_reward": None if math.isnan(agent.last_reward) else agent.last_reward,
        "history": agent.history,
        "trained_on": agent._trained_on,
    }
    save_tensors(path, "agent", tensors, meta)


def load_agent(cls: Any, path: str | os.PathLike[str], env: Any, validation: Any, **kwargs: Any) -> Any:
    """Read what `save_agent` wrote; see `Agent.load`. The file is checked whole: it may be crafted."""
    tensors, meta = load_tensors(path, "agent")
    if meta.get("agent") != cls.name:
        raise CheckpointError(f"{path}: holds {meta.get('agent')!r}, not {cls.name!r}; load it with that class")
    try:
        agent = cls(env, validation, _config(cls.Config, meta["config"]), **kwargs)
        if meta["core"] != _kind(agent):
            raise ValueError(f"was made for {meta['core']}, the environment has {_kind(agent)}; make it alike")
        for name, module in agent.modules.items():
            load_weights(module, _part(tensors, f"module/{name}/"), path)
        for name, optimizer in agent.optimizers.items():
            for i, parameter in enumerate(_parameters(optimizer)):
                found = _part(tensors, f"optimizer/{name}/{i}/")
                if found:  # none before the first step
                    _same(found, {"step": torch.tensor(0.0), "exp_avg": parameter, "exp_avg_sq": parameter})
                # as in torch's own loading: the count of steps stays where the optimiser wants it
                optimizer.state[parameter] = {k: v.to(agent.device) for k, v in found.items()}
        start = _part(tensors, "start/")
        _same(start, {str(i): tensor for i, tensor in enumerate(agent._start)})
        agent._start = [start[str(i)].to(agent.device) for i in range(len(start))]
        agent.generator.set_state(tensors["random"])
        agent._queue, agent._trained_on = _queue(agent, tensors["queue"], meta.get("trained_on"))
        counters = _numbers("counters", meta["counters"], {"timesteps": int, "updates": int, "budget": int})
        agent.num_timesteps, agent.n_updates, agent._budget = (counters[k] for k in ("timesteps", "updates", "budget"))
        agent.numbers = _numbers("numbers", meta["numbers"], dict.fromkeys(agent.numbers, float))
        if (reward := meta.get("last_reward")) is not None:
            agent.last_reward = _numbers("last_reward", {"last_reward": reward}, {"last_reward": float})["last_reward"]
        if not isinstance(meta["history"], list):
            raise ValueError("history is no list")
        agent.history = [_numbers("history", look, dict.fromkeys(look, float)) for look in meta["history"]]
        if meta["best"] is not None:
            best = _numbers("best", meta["best"], {"m_at_b": float, "timesteps": int, "looks": int})
            weights = _part(tensors, "best/")
            _same(weights, agent.policy.state_dict())
            best["stale_evals"] = best.pop("looks")  # its name in files
            agent._best = type(agent._best)(**best, weights={k: v.to(agent.device) for k, v in weights.items()})
    except ConfigError as error:
        raise CheckpointError(f"{path}: cannot be used here: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, RuntimeError, TypeError, OverflowError) as error:
        fault = " ".join(str(error).split())
        raise CheckpointError(f"{path}: lacks a part of a checkpoint ({fault}); use an earlier one") from error
    return agent


def training_fingerprint(core: Any) -> str:
    """What an agent trains on, in words that differ where the drawings, the photos, the head or the reward do."""
    bank = core.bank
    names = [bank.sketch_ids, bank.photo_ids, dict(bank.provenance)]
    sums = zlib.crc32(json.dumps(names, sort_keys=True, default=str).encode())
    for tensor in (bank.lengths, bank.targets, bank.gallery, bank.weight, bank.bias):
        sums = zlib.crc32(tensor.cpu().contiguous().numpy().data, sums)
    size = f"{len(bank)} drawings, {len(bank.photo_ids)} photos"
    return f"bank {sums:08x} ({bank.split}, {size}) with reward {core.reward.name} ({_reward_checksum(core):08x})"


def _reward_checksum(core: Any) -> int:
    """Checksum of what the reward pays: two of one name may differ in their weights."""
    reward = core.reward
    paid = [reward.sample(core.n_photos, core.device)]
    if reward.trajectory is not None:
        tau = torch.linspace(0, 1, 5, dtype=torch.float64, device=core.device)
        paid.append(reward.trajectory_reward(*torch.meshgrid(tau, tau, indexing="ij")))
    sums = int(reward.tau_normalized)
    for tensor in paid:
        sums = zlib.crc32(tensor.cpu().contiguous().numpy().data, sums)
    return sums


def _queue(agent: Any, queue: Tensor, trained_on: Any) -> tuple[Tensor, str | None]:
    """The drawings left in the pass, and what bank they are of; None: any. Raises ValueError."""
    if queue.dtype != torch.int64 or queue.dim() != 1 or bool((queue < 0).any()):
        raise ValueError("queue is no list of drawings; use an earlier file")
    if not isinstance(trained_on, str | None):
        raise ValueError(f"trained_on is {trained_on!r}, no text; use an earlier file")
    if bool((queue >= len(agent.core.bank)).any()):
        if trained_on == training_fingerprint(agent.core):
            raise ValueError(f"queue holds drawings beyond the {len(agent.core.bank)} of the bank; use an earlier file")
        trained_on = trained_on or "a bank of more drawings"  # files of version 0.1 do not say which
    return queue.to(agent.device), trained_on


def _config(kind: Any, values: Any) -> Any:
    """Settings. Raises ValueError; ConfigError for those that the agent refuses."""
    if not isinstance(values, dict):
        raise ValueError(f"config is {values!r}; use an earlier file")
    for name in values:
        if name not in {f.name for f in fields(kind)}:
            raise ValueError(f"has the setting {name!r}, unknown here; it is of another version")
    return kind(**values)


def _numbers(what: str, found: dict[str, Any], types: dict[str, type]) -> dict[str, Any]:
    """Numbers by name, exactly these. Raises ValueError."""
    if not isinstance(found, dict) or set(found) != set(types):
        raise ValueError(f"{what} holds {found!r}, want {', '.join(types) or 'nothing'}; use an earlier file")
    for name, value in found.items():
        whole = type(value) is int and value >= 0
        if not (whole or (types[name] is float and isinstance(value, int | float) and math.isfinite(value))):
            raise ValueError(f"{what}: {name}={value!r} is no number that can be there; use an earlier file")
    return found


def _same(found: dict[str, Tensor], like: dict[str, Tensor]) -> None:
    """Finite tensors of these names, shapes and types. Raises ValueError."""
    if set(found) != set(like):
        raise ValueError(f"holds the tensors {sorted(found)}, not {sorted(like)}; use an earlier file")
    for name, tensor in found.items():
        if tensor.shape != like[name].shape or tensor.dtype != like[name].dtype or not tensor.isfinite().all():
            raise ValueError(
                f"{name} is {tuple(tensor.shape)}, not finite {tuple(like[name].shape)}; use an earlier file"
            )


def _best_meta(best: Any) -> dict[str, Any] | None:
    if not best.weights:
        return None
    return {"m_at_b": best.m_at_b, "timesteps": best.timesteps, "looks": best.stale_evals}


def _kind(agent: Any) -> dict[str, Any]:
    return {name: getattr(agent.core, name) for name in ("mode", "observation", "scale")}


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
