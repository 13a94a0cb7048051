"""`sketchless bench`: how fast the environment is, against what others would write and what arithmetic allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import write_json
from sketchless.encoders.device import resolve_device

from ..display.terminal import Terminal
from ..runs import Stopwatch, machine, run_folder
from ..speed.draw import bench_draw
from ..speed.env import bench_env
from ..speed.kernels import bench_kernels
from ..speed.measure import BenchConfig, threads
from ..speed.training import bench_training


def run(config: BenchConfig, console: Console | None = None) -> dict[str, Any]:
    """Measure, print tables and write `results.json`; returns what it holds.

    Raises:
        ConfigError: not one of `BENCHES`, sizes that make no sense, or a folder that cannot be used.
    """
    console = console or Terminal()
    if config.what not in BENCHES:
        raise unknown_name("benchmark", config.what, BENCHES)
    if not config.galleries or not config.batches or min(config.galleries) < 2 or min(config.batches) < 1:
        raise ConfigError(
            f"galleries={config.galleries}, batches={config.batches}: want 2 or more photos and 1 or more environments"
        )
    if config.repeats < 1 or (config.threads is not None and config.threads < 1):
        raise ConfigError(f"repeats={config.repeats}, threads={config.threads}: must be 1 or more")
    if resolve_device(config.device).type != config.device:
        raise ConfigError(f"device {config.device!r}: want cpu or cuda")
    if config.quick:
        config = replace(config, galleries=config.galleries[:1], batches=config.batches[:3], repeats=3)
    watch = Stopwatch()
    with run_folder(config.out, f"bench-{config.what}", asdict(config)) as folder, threads(config.threads):
        results = {
            "machine": machine(),
            "config": asdict(config),
            **BENCHES[config.what](config, console),
            "seconds": float(watch),
        }
        write_json(folder / "results.json", results)
    console.print(f"written to {folder / 'results.json'}")
    return results


BENCHES: dict[str, Callable[[BenchConfig, Console], dict[str, Any]]] = {
    "env": bench_env,
    "kernels": bench_kernels,
    "training": bench_training,
    "draw": bench_draw,
}
