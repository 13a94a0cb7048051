"""Loggers: what is told on the way, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sketchless.benchmarks.cli import main
from sketchless.benchmarks.logs import log_format, logger_in
from sketchless.datasets import ConfigError

SMALL = ["--passes", "0.1", "--set", "samples=2", "eval_every=2", "--no-gif"]


def test_wandb_gets_the_numbers_offline(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    told: dict[int, dict[str, float]] = {}
    logger = logger_in(tmp_path / "log", "wandb", 0)
    run = logger.output_formats[0].run  # type: ignore[attr-defined]
    monkeypatch.setattr(run, "log", lambda values, step: told.update({step: dict(values)}))
    logger.record("train/loss", 0.5)
    logger.record("note", "text")
    logger.dump(7)
    logger.close()
    assert told == {7: {"train/loss": 0.5}}
    again = logger_in(tmp_path / "log", "wandb", 7)
    assert again.output_formats[0].run.id == run.id  # type: ignore[attr-defined]
    again.close()


def test_a_run_logs_to_wandb_and_learns_what_it_would_without(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for logger in ("wandb", "none"):
        assert main(["train", "--out", str(tmp_path / logger), "--logger", logger, *SMALL]) == 0
    assert list((tmp_path / "wandb" / "log" / "seed-0").rglob("*.wandb"))
    one, other = ((tmp_path / name / "agent-0.safetensors").read_bytes() for name in ("wandb", "none"))
    assert one == other


def test_a_run_that_wandb_does_not_begin_is_one_line(tmp_path: Path, monkeypatch, refuses) -> None:
    wandb = pytest.importorskip("wandb")

    def unknown(**_: object) -> None:
        raise wandb.Error("No API key configured.\nUse `wandb login`.")

    monkeypatch.setattr(wandb, "init", unknown)
    with refuses(ConfigError, "logger wandb: No API key configured. Use `wandb login`. WANDB_MODE=offline writes"):
        logger_in(tmp_path / "log", "wandb", 0)


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_says_what_to_install(name: str, monkeypatch, refuses) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with refuses(ConfigError, f"logger {name}: it is not installed; pip install"):
        log_format(name)
    assert log_format("auto") is None
    assert log_format("csv") == "csv"
