"""All of an agent in one file, so that training goes on from it as if it had never stopped."""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor

from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.encoders.encoder import load_weights
from sketchless.encoders.tensorfile import load_tensors, save_tensors


def save_agent(agent: Any, path: str | os.PathLike[str]) -> None:
    """Write modules, optimisers, random state, counters and the best policy; see `Agent.save`."""
    tensors = {f"best/{k}": v for k, v in agent._best.weights.items()}
    for name, module in agent.modules.items():
        tensors |= {f"module/{name}/{k}": v for k, v in module.state_dict().items()}
    for name, optimizer in agent.optimizers.items():
        for i, parameter in enumerate(_parameters(optimizer)):
            tensors |= {f"optimizer/{name}/{i}/{k}": v for k, v in optimizer.state[parameter].items()}
    tensors |= {f"start/{i}": v for i, v in enumerate(agent._start)}
    tensors |= {"random": agent.generator.get_state(), "queue": agent._queue}
    best = agent._best
    meta = {
        "agent": agent.name,
        "config": asdict(agent.config),
        "core": _kind(agent),
        "counters": {"timesteps": agent.num_timesteps, "updates": agent.n_updates, "budget": agent._budget},
        "numbers": agent.numbers,
        "best": {"m_at_b": best.m_at_b, "timesteps": best.timesteps, "looks": best.looks} if best.weights else None,
        "history": agent.history,
    }
    save_tensors(path, "agent", tensors, meta)


def load_agent(cls: Any, path: str | os.PathLike[str], env: Any, validation: Any, **kwargs: Any) -> Any:
    """Read what `save_agent` wrote; see `Agent.load`."""
    tensors, meta = load_tensors(path, "agent")
    if meta["agent"] != cls.name:
        raise CheckpointError(f"{path}: holds {meta['agent']!r}, not {cls.name!r}; load it with that class")
    unknown = set(meta["config"]) - {f.name for f in fields(cls.Config)}
    if unknown:
        raise CheckpointError(f"{path}: has the setting {min(unknown)!r}, unknown here; it is of another version")
    try:
        agent = cls(env, validation, cls.Config(**meta["config"]), **kwargs)
    except ConfigError as error:
        raise CheckpointError(f"{path}: cannot be used here: {error}") from error
    if meta["core"] != _kind(agent):
        raise CheckpointError(f"{path}: was made for {meta['core']}, the environment has {_kind(agent)}; make it alike")
    try:
        for name, module in agent.modules.items():
            load_weights(module, _part(tensors, f"module/{name}/"), path)
        for name, optimizer in agent.optimizers.items():
            for i, parameter in enumerate(_parameters(optimizer)):
                found = _part(tensors, f"optimizer/{name}/{i}/")
                # as in torch's own loading: the count of steps stays where the optimiser wants it
                optimizer.state[parameter] = {k: v.to(agent.device) for k, v in found.items()}
        agent._start = [tensors[f"start/{i}"].to(agent.device) for i in range(len(agent._start))]
        agent.generator.set_state(tensors["random"])
        agent._queue = tensors["queue"].to(agent.device)
        counters = meta["counters"]
        agent.num_timesteps, agent.n_updates = counters["timesteps"], counters["updates"]
        agent._budget, agent.history, agent.numbers = counters["budget"], meta["history"], meta["numbers"]
        if meta["best"] is not None:
            weights = {k: v.to(agent.device) for k, v in _part(tensors, "best/").items()}
            agent._best = type(agent._best)(**meta["best"], weights=weights)
    except (KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path}: lacks a part of a checkpoint ({error}); use an earlier one") from error
    return agent


def _kind(agent: Any) -> dict[str, Any]:
    return {name: getattr(agent.core, name) for name in ("mode", "observation", "scale")}


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
