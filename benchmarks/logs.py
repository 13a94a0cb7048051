"""Where training logs to: a logger of stable-baselines3, in the format that was asked for."""

from __future__ import annotations

import importlib.util
import os
import secrets
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger, make_output_format

from sketchless.datasets.errors import ConfigError, unknown_name

LOGGERS = ("auto", "tensorboard", "csv", "wandb", "none")


def log_format(name: str) -> str | None:
    """What `logger_in` writes. Raises ConfigError: unknown, or what it needs is not installed."""
    if name not in LOGGERS:
        raise unknown_name("logger", name, LOGGERS)
    if name in ("tensorboard", "wandb") and not _installed(name):
        raise ConfigError(f'logger {name}: it is not installed; pip install "sketchless[{name}]", or take csv')
    return {"auto": "tensorboard" if _installed("tensorboard") else None, "none": None}.get(name, name)


def logger_in(folder: Path, kind: str, timesteps: int) -> Logger:
    """A logger whose files are new ones where training goes on from so many steps: a CSV file would begin anew."""
    if kind == "wandb":
        return Logger(str(folder), [WandbWriter(folder)])
    suffix = f"-{timesteps}" if timesteps else ""
    return Logger(str(folder), [make_output_format(kind, str(folder), suffix)])


class WandbWriter(KVWriter):
    """Writes numbers to a run of Weights & Biases, whose files lie in a folder.

    Where and whether they are sent is said by wandb's own variables (`WANDB_PROJECT`, `WANDB_MODE=offline` ...); the
    project is `sketchless` by default. Training that goes on goes on in the same run.

    Raises:
        ConfigError: wandb does not begin a run, such as for want of a key.
    """

    def __init__(self, folder: Path) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        known = folder / "wandb-run"
        id = known.read_text(encoding="utf-8") if known.exists() else secrets.token_hex(4)
        known.write_text(id, encoding="utf-8")
        project = os.environ.get("WANDB_PROJECT", "sketchless")
        name = "/".join(folder.resolve().parts[-3:])
        about: dict[str, Any] = {"project": project, "dir": str(folder), "id": id, "name": name}
        try:
            self.run = wandb.init(**about, resume="allow", reinit="create_new")
        except wandb.Error as error:  # not logged in, no network ...
            told = " ".join(str(error).split())
            raise ConfigError(f"logger wandb: {told} WANDB_MODE=offline writes without sending") from error

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self.run.log({name: value for name, value in key_values.items() if isinstance(value, int | float)}, step=step)

    def close(self) -> None:
        self.run.finish()


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
