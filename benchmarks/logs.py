"""Where training logs to: a logger of stable-baselines3, in the format that was asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from stable_baselines3.common.logger import Logger, make_output_format

from sketchless.datasets.errors import ConfigError, unknown_name

LOGGERS = ("auto", "tensorboard", "csv", "none")


def log_format(name: str) -> str | None:
    """What stable-baselines3's logger writes. Raises ConfigError: unknown, or TensorBoard is not installed."""
    if name not in LOGGERS:
        raise unknown_name("logger", name, LOGGERS)
    installed = importlib.util.find_spec("tensorboard") is not None
    if name == "tensorboard" and not installed:
        raise ConfigError('logger tensorboard: it is not installed; pip install "sketchless[tensorboard]", or take csv')
    return {"auto": "tensorboard" if installed else None, "none": None}.get(name, name)


def logger_in(folder: Path, kind: str, timesteps: int) -> Logger:
    """A logger whose files are new ones where training goes on from so many steps: a CSV file would begin anew."""
    suffix = f"-{timesteps}" if timesteps else ""
    return Logger(str(folder), [make_output_format(kind, str(folder), suffix)])
