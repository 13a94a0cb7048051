"""The command `sketchless draw`: what is searched, and what is refused."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from sketchless.agents.drawings import training_fingerprint
from sketchless.benchmarks import evaluate
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.commands import draw as command
from sketchless.benchmarks.commands.draw import DrawConfig, listen
from sketchless.benchmarks.draw import sources
from sketchless.benchmarks.draw.sources import BANK, Files, find_files, open_engine
from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.encoders.bank import EpisodeBank, bank_path
from sketchless.encoders.networks.encoder import EncoderConfig
from sketchless.encoders.registry import make_encoder
from sketchless.encoders.tensorfile import load_tensors, read_meta, save_tensors
from sketchless.encoders.zoo import zoo
from sketchless.envs.core import Core

ENCODER, AGENT = (zoo()[name].path for name in (sources.ENCODER, sources.AGENT))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (80 * number, 9, 9)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_with_no_options_the_shipped_files_are_searched_and_give_the_ranks_of_evaluate() -> None:
    engine = open_engine(find_files(), None, "test", "cpu", Console(quiet=True))
    bank = EpisodeBank.load(BANK, "test")
    assert engine.names == bank.photo_ids
    # the shipped features are rounded to 16 bits, which may swap photos that are all but equally near
    for name, agent in (("b1", None), ("refined", engine.agent)):
        wanted = evaluate(agent, bank).rank
        for example in engine.examples()[:3]:
            row = bank.sketch_ids.index(example.sketch.id)
            found = engine.curve(engine.follow(example.sketch.strokes()), example.target)[name]["rank"]
            assert len(found) == int(bank.lengths[row])
            np.testing.assert_allclose(found, wanted[row, : len(found)], atol=2)


def test_the_shipped_agent_was_trained_on_the_shipped_bank() -> None:
    """If it was not, make it again by the command in docs/draw.md."""
    core = Core(EpisodeBank.load(BANK, "train"), "combined")
    assert training_fingerprint(core).startswith(read_meta(AGENT, "agent")["trained_on"])


def test_a_folder_of_photos_takes_the_place_of_the_gallery(photos: Path) -> None:
    engine = open_engine(find_files(), str(photos), "test", "cpu", Console(quiet=True))
    assert engine.names == ("0.png", "1.png", "2.png")
    assert engine.examples() == ()
    standing = engine.follow([np.array([[20.0, 20.0], [200.0, 200.0]])])[0]
    assert sorted(row for row, _ in engine.lists(standing)["refined"]) == [0, 1, 2]


def test_an_encoder_that_the_bank_was_not_made_with_is_refused(tmp_path: Path) -> None:
    make_encoder(EncoderConfig(size=32, dim=64)).save(tmp_path / "other.safetensors")
    files = find_files(bank=BANK, encoder=str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match="not the encoder"):
        open_engine(files, None, "test", "cpu", Console(quiet=True))


@pytest.mark.parametrize("origin", [{"ensemble": [{}]}, {"completion": {"size": 1}}])
def test_banks_that_no_encoder_alone_makes_are_refused(tmp_path: Path, origin: dict[str, Any]) -> None:
    tensors, meta = load_tensors(bank_path(BANK), "bank")
    meta = {k: v for k, v in meta.items() if k not in ("kind", "version", "checksums")}
    save_tensors(tmp_path / "bank.safetensors", "bank", tensors, {**meta, "provenance": meta["provenance"] | origin})
    files = Files(str(tmp_path / "bank.safetensors"), str(ENCODER), None)
    with pytest.raises(ConfigError, match=r"ensemble|complete"):
        open_engine(files, None, "test", "cpu", Console(quiet=True))


def test_the_encoder_beside_a_bank_is_found(tmp_path: Path) -> None:
    shutil.copy(bank_path(BANK), tmp_path / "bank.safetensors")
    with pytest.raises(ConfigError, match="--encoder"):
        find_files(bank=str(tmp_path / "bank.safetensors"))
    shutil.copy(ENCODER, tmp_path / "encoder.safetensors")
    found = find_files(bank=str(tmp_path / "bank.safetensors"), agent=str(AGENT))
    assert found == Files(str(tmp_path / "bank.safetensors"), str(tmp_path / "encoder.safetensors"), str(AGENT))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--run", "x", "--bank", "y"], "--run brings"),
        (["--agent", "x"], "belong to a --bank"),
        (["--run", "nowhere"], "no such file"),
        (["--bank", "nowhere"], "unknown bank"),
        (["--split", "nowhere"], "unknown split"),
        (["--photos", "/nowhere/at/all"], "no such folder"),
        (["--out", "x"], "belongs to --collect"),
        (["--collect", "x"], "needs --out"),
        (["--collect", "/nowhere/at/all", "--out", "x"], "no such folder"),
        (["--collect", "x", "--out", "y", "--photos", "z"], "leave out --photos"),
        (["--port", "99999"], "port=99999"),
        (["--host", "999.1.1.1"], "cannot listen"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = options if "--port" in options else [*options, "--port", "0"]
    assert main(["draw", "--no-open", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["draw", "--no-open", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_another_address_is_reached_by_a_link_with_a_token(monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    seen: dict[str, Any] = {}

    class Server:
        def run(self, sockets: list[socket.socket]) -> None:
            seen["address"] = sockets[0].getsockname()[0]

    monkeypatch.setattr(
        "sketchless.benchmarks.draw.server.make_server", lambda app, host, port: seen.update(app=app) or Server()
    )
    console = Console(record=True, quiet=False, width=200)
    out = str(photos.parent / "set")
    command.run(DrawConfig(collect=str(photos), out=out, port=0, host="0.0.0.0", open=False), console)
    text = console.export_text()
    assert f"?token={seen['app'].token}" in text
    assert len(seen["app"].token) >= 20
    assert "others on the network" in text
    console = Console(record=True, width=200)
    command.run(DrawConfig(collect=str(photos), out=out, port=0, open=False), console)
    assert seen["address"] == "127.0.0.1"
    assert seen["app"].token is None
    assert "token" not in console.export_text()
