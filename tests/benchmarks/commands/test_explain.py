"""Explanations: planted matches, gains that add up, ranks that are the bank's, pictures, the command."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize, pixel_unshuffle

from sketchless.agents import load_agent, make_agent
from sketchless.benchmarks import evaluate
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.explanation.episode import (
    Answer,
    bank_of_one,
    explain_episode,
    last_similarity,
    rank_of,
    sentence,
    turning_point,
    whereabouts,
)
from sketchless.benchmarks.explanation.pair import explain, inked
from sketchless.benchmarks.explanation.pictures import EpisodePictures, pair_picture
from sketchless.datasets import ConfigError, SketchDataset, procedural
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import reveal
from sketchless.encoders import ZSE, Encoder, EncoderConfig, EpisodeBank, Tokens, encode_banks, make_encoder
from sketchless.envs import Core

STEPS = 5


class Contents:
    """Tokens that are the pixels of the 8 x 8 patches of 8 px; every fifth of them is dropped."""

    def tokens(self, images: Tensor) -> Tokens:
        values = pixel_unshuffle(images, 8).flatten(2).transpose(1, 2)
        places = torch.tensor([p for p in range(64) if p % 5]).expand(len(images), -1)
        attention = torch.full(places.shape, 1 / places.shape[1])
        return Tokens(values[:, places[0]], places, attention, (8, 8))

    def match(self, sketch: Tokens, photo: Tokens) -> Tensor:
        return normalize(sketch.values, dim=-1) @ normalize(photo.values, dim=-1).transpose(1, 2)


@pytest.fixture(scope="module")
def chairs() -> SketchDataset:
    return procedural(train=6, test=4, validation=2, drawers=1)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderConfig(size=32, dim=8)).eval()


@pytest.fixture(scope="module")
def seer() -> Encoder:
    return Encoder(EncoderConfig(size=64, dim=8)).eval()


@pytest.fixture(scope="module")
def bank(encoder: Encoder, chairs: SketchDataset) -> EpisodeBank:
    return encode_banks(encoder, chairs, steps=STEPS, splits=["test"])["test"]


@pytest.fixture(scope="module")
def planted() -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]:
    """A frame of noise, and a photo that has its patches of rows 0..2 and columns 3..7 at row 4, column 1."""
    rng = np.random.default_rng(0)
    frame = rng.random((256, 256)) < 0.5
    photo = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    photo[4 * 32 : 7 * 32, 32 : 6 * 32] = 255 * frame[: 3 * 32, 3 * 32 :, None].astype(np.uint8)
    return frame, photo


def one_of(bank: EpisodeBank, encoder: Encoder, chairs: SketchDataset, row: int) -> EpisodeBank:
    split = chairs.split("test")
    return bank_of_one(encoder, chairs, "test", split.sketches[row], int(split.targets[row]), "points", STEPS)


class TestPair:
    def test_planted_patches_are_found_at_their_place(self, seer: Encoder, planted) -> None:
        found = explain(seer, *planted, Contents())
        matches = {tuple(p): tuple(m) for p, m in zip(found.places.tolist(), found.matches.tolist(), strict=True)}
        kept = {(y, x) for y in range(8) for x in range(8) if (8 * y + x) % 5}
        assert set(matches) == kept
        copied = [(y, x) for y in range(3) for x in range(3, 8) if {(y, x), (y + 4, x - 2)} <= kept]
        assert len(copied) >= 8
        for y, x in copied:
            assert matches[y, x] == (y + 4, x - 2)
            assert found.strength[found.places.tolist().index([y, x])] == pytest.approx(1)

    def test_synthesis_is_made_of_the_photo_pixel_by_pixel(self, seer: Encoder, planted) -> None:
        found = explain(seer, *planted, Contents())
        assert np.array_equal(found.photo, planted[1])
        expected = np.full((256, 256, 3), 255)
        for (row, column), (y, x) in zip(found.places, found.matches, strict=True):
            for down in range(32):
                for right in range(32):
                    expected[32 * row + down, 32 * column + right] = planted[1][32 * y + down, 32 * x + right]
        assert np.array_equal(found.synthesis, expected)

    def test_attention_is_nan_where_a_patch_was_dropped(self, seer: Encoder, planted) -> None:
        found = explain(seer, *planted, Contents())
        dropped = np.arange(64).reshape(8, 8) % 5 == 0
        for attention in (found.sketch_attention, found.photo_attention):
            assert np.array_equal(np.isnan(attention), dropped)
            assert np.nansum(attention) == pytest.approx(1)

    def test_ink_is_where_it_is(self, seer: Encoder, planted) -> None:
        frame = np.zeros((256, 256), dtype=bool)
        frame[40, 200] = True  # patch (1, 6) of 8 x 8
        assert np.argwhere(inked(frame, (8, 8))).tolist() == [[1, 6]]
        assert np.argwhere(inked(frame, (7, 7))).tolist() == [[1, 5]]  # 40.5 / 36.57 and 200.5 / 36.57
        found = explain(seer, frame, planted[1], Contents())
        assert found.places[found.ink].tolist() == [[1, 6]]
        assert len(found.strongest()) == 1

    def test_zse_and_score(self, chairs: SketchDataset, tmp_path: Path) -> None:
        zse = ZSE(EncoderConfig("zse", size=64, dim=8)).eval()
        frame = inked(np.ones((256, 256), dtype=bool), (256, 256))
        photo = chairs.photo(chairs.split("test").photos[0])
        found = explain(zse, frame, photo)
        kept = zse.tokens(torch.zeros(1, 3, 64, 64)).places.shape[1]
        assert np.isfinite(found.sketch_attention).sum() == len(found.places) == kept < 64
        with torch.no_grad():
            both = zse(torch.cat([zse.sketch_inputs(torch.from_numpy(frame)[None]), zse.photo_inputs([photo])]))
        assert found.score == pytest.approx(float(both[0] @ both[1]), abs=1e-5)
        found.save(tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
            assert np.array_equal(file["matches"], found.matches)
            assert file["synthesis"].dtype == np.uint8

    def test_picture_is_the_same_again(self, seer: Encoder, planted) -> None:
        one, two = (pair_picture(explain(seer, *planted, Contents()), "title") for _ in range(2))
        assert one.dtype == np.uint8
        assert np.array_equal(one, two)

    def test_the_picture_says_what_it_shows(self, seer: Encoder, planted) -> None:
        own = make_encoder(EncoderConfig("manifold", size=64, dim=8)).eval()
        found = [explain(encoder, *planted) for encoder in (seer, own)]
        assert [pair.alike for pair in found] == [False, True]
        pictures = [pair_picture(replace(found[0], alike=alike), "title") for alike in (False, True)]
        assert not np.array_equal(*pictures)


class TestEpisode:
    @pytest.mark.parametrize("row", [0, 3])
    def test_ranks_are_those_of_the_bank(self, encoder: Encoder, bank, chairs, row: int) -> None:
        split, one = chairs.split("test"), one_of(bank, encoder, chairs, row)
        assert torch.equal(one.features[0], bank.features[row])
        steps = explain_episode(encoder, one, split.sketches[row], chairs.photo(one.photo_ids[split.targets[row]]))
        assert [step.rank for step in steps] == evaluate(None, bank).rank[row].tolist()
        assert rank_of(last_similarity(encoder, one), int(split.targets[row])) == steps[-1].rank
        # The score is the cosine of the frozen embedding, found by another way.
        assert [s.score for s in steps] == pytest.approx([s.explanation.score for s in steps], abs=1e-5)
        assert [s.order[0] for s in steps] == Core(bank).base[row].matmul(bank.gallery.double().T).argmax(1).tolist()

    def test_gains_add_up_and_belong_to_new_ink(self, encoder: Encoder, bank, chairs) -> None:
        drawing = chairs.split("test").sketches[1]
        steps = explain_episode(encoder, one_of(bank, encoder, chairs, 1), drawing, chairs.photo(bank.photo_ids[1]))
        birth = birth_map(drawing, reveal(drawing, "points", STEPS))
        for number, step in enumerate(steps):
            assert sum(a.gain for a in step.answers) == pytest.approx(step.gain, abs=1e-12)
            places = [a.place for a in step.answers]
            assert sorted(places) == [tuple(p) for p in np.argwhere(inked(birth == number, (8, 8))).tolist()]
            assert len(set(places)) == len(places)
            if number:
                assert step.gain == pytest.approx(step.score - steps[number - 1].score)

    def test_patches_come_in_the_order_of_the_pen(self, encoder: Encoder, chairs) -> None:
        from sketchless.datasets import Sketch

        line = Sketch.from_strokes([np.stack([np.linspace(250, 6, 40), np.full(40, 100)], axis=1)], "leftwards")
        one = bank_of_one(encoder, chairs, "test", line, 0, "points", 1)
        (step,) = explain_episode(encoder, one, line, chairs.photo(one.photo_ids[0]))
        assert [a.place for a in step.answers] == [(3, x) for x in range(7, -1, -1)]

    @pytest.mark.parametrize(
        ("policy", "refined"),
        [
            ("linear", False),
            ("gru", True),
            pytest.param("linear", True, marks=pytest.mark.slow),
            pytest.param("gru", False, marks=pytest.mark.slow),
        ],
    )
    def test_an_agents_ranks_are_those_of_its_evaluation(
        self, encoder: Encoder, bank, chairs, tmp_path: Path, policy: str, refined: bool
    ) -> None:
        agent = make_agent("vpg", Core(bank, "inv-rank"), policy=policy)
        if refined:
            random = torch.Generator().manual_seed(1)
            for parameter in agent.policy.parameters():
                parameter.data = torch.randn(parameter.shape, generator=random)
        agent.save(tmp_path / "agent.safetensors")
        one = one_of(bank, encoder, chairs, 2)
        loaded = load_agent(str(tmp_path / "agent.safetensors"), one)
        steps = explain_episode(encoder, one, chairs.split("test").sketches[2], chairs.photo(bank.photo_ids[2]), loaded)
        baseline, own = (evaluate(p, bank).rank[2].tolist() for p in (None, agent))
        assert [s.rank for s in steps] == own
        assert (own == baseline) is not refined
        assert rank_of(last_similarity(encoder, one, loaded), 2) == own[-1]
        assert sum(a.gain for a in steps[3].answers) == pytest.approx(steps[3].gain, abs=1e-12)

    def test_zse_as_an_environment(self, chairs) -> None:
        zse = ZSE(EncoderConfig("zse", size=32, dim=8)).eval()
        bank = encode_banks(zse, chairs, steps=STEPS, splits=["test"])["test"]
        one = one_of(bank, zse, chairs, 3)
        steps = explain_episode(zse, one, chairs.split("test").sketches[3], chairs.photo(bank.photo_ids[3]))
        assert [s.rank for s in steps] == evaluate(None, bank).rank[3].tolist()
        dropped = [a for s in steps for a in s.answers if a.match is None]
        assert all(np.isnan(a.strength) for a in dropped)

    def test_a_dropped_patch_is_said_to_be_dropped(self, encoder: Encoder, bank, chairs) -> None:
        one = one_of(bank, encoder, chairs, 0)
        step = explain_episode(encoder, one, chairs.split("test").sketches[0], chairs.photo(bank.photo_ids[0]))[0]
        dropped, kept = Answer((0, 0), 0.5, None, float("nan")), Answer((7, 7), 0.2, (7, 0), 0.9)
        told = sentence(replace(step, answers=(dropped, kept)))
        assert told == "ink at the top left gave +0.500 (patch dropped by the network)"
        told = sentence(replace(step, answers=(kept,)))
        assert told == "ink at the bottom right gave +0.200, answered at the bottom left of the photo (cosine 0.90)"

    def test_a_frame_a_step(self, encoder: Encoder, bank, chairs) -> None:
        one = one_of(bank, encoder, chairs, 0)
        steps = explain_episode(encoder, one, chairs.split("test").sketches[0], chairs.photo(bank.photo_ids[0]))
        frames = EpisodePictures(one, chairs).explained(steps)
        assert len(frames) == STEPS
        assert {f.shape[0] % 2 + f.shape[1] % 2 for f in frames} == {0}
        assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(frames))

    def test_turning_point_and_places(self, encoder: Encoder, bank, chairs) -> None:
        one = one_of(bank, encoder, chairs, 0)
        step = explain_episode(encoder, one, chairs.split("test").sketches[0], chairs.photo(bank.photo_ids[0]))[0]
        ranks = [90, 60, 55, 5, 4, 1]  # divided by 1.5, 1.1, 11, 1.25 and 4
        assert turning_point([replace(step, rank=r) for r in ranks]) == 3
        assert turning_point([replace(step, rank=r) for r in (1, 2, 2)]) == 0
        assert [whereabouts(p, (6, 6)) for p in [(0, 5), (2, 3), (5, 2), (3, 0)]] == [
            "top right",
            "middle",
            "bottom",
            "left",
        ]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, chairs: SketchDataset, encoder: Encoder, tmp_path: Path) -> list[str]:
    """Options that explain on the small set with the small encoder; the working folder is `tmp_path`."""
    from sketchless.datasets import loading

    monkeypatch.setitem(loading.DATASETS, "procedural", lambda: chairs)
    monkeypatch.chdir(tmp_path)
    encoder.save("encoder.safetensors")
    return ["--encoder", "encoder.safetensors", "--steps", str(STEPS)]


class TestCommand:
    def test_pair_search_and_episode(self, few: list[str], chairs: SketchDataset, capsys) -> None:
        sketch, photo = chairs.split("test").sketches[1].id, chairs.split("test").photos[1]
        assert main(["explain", sketch, photo, *few, "--gif", "e.gif", "--arrays", "a.npz", "--out", "p.png"]) == 0
        said = capsys.readouterr().out
        assert f" of {STEPS} " in said
        with Image.open("e.gif") as animation:
            assert animation.n_frames == STEPS
        assert main(["explain", sketch, *few, "--arrays", "b.npz"]) == 0  # its own photo, without being told
        assert Path("explanation.png").read_bytes() == Path("p.png").read_bytes()
        assert Path("b.npz").read_bytes() == Path("a.npz").read_bytes()
        assert main(["explain", sketch, "--gallery", "--top", "2", *few, "--out", "g.png"]) == 0
        assert "has rank" in capsys.readouterr().out
        with Image.open("p.png") as pair, Image.open("g.png") as searched:
            assert searched.height in (2 * pair.height, 3 * pair.height)  # the true photo may be a third

    def test_files(self, few: list[str], chairs: SketchDataset, capsys, refuses: Any) -> None:
        ink = birth_map(chairs.split("test").sketches[0], [10_000]) == 0
        Image.fromarray(np.where(ink, np.uint8(0), np.uint8(255))).save("mine.png")
        Image.fromarray(chairs.photo(chairs.split("test").photos[0])).save("yours.jpg")
        assert main(["explain", "mine.png", "yours.jpg", *few]) == 0
        assert main(["explain", "mine.png", *few]) == 0
        assert "not known" in capsys.readouterr().out
        Image.fromarray(np.where(ink, np.uint8(255), np.uint8(0))).save("night.png")
        assert main(["explain", "night.png", "yours.jpg", *few, "--out", "refused.png"]) == 2
        assert "invert=true" in capsys.readouterr().err
        assert main(["explain", "mine.png", "yours.jpg", *few, "--arrays", "day.npz"]) == 0
        assert main(["explain", "night.png", "yours.jpg", *few, "--invert", "--arrays", "night.npz"]) == 0
        with np.load("day.npz") as day, np.load("night.npz") as night:
            assert all(np.array_equal(day[name], night[name]) for name in day)
        assert main(["explain", *few, "--invert", "--out", "refused.png"]) == 2
        assert "give one as the sketch" in capsys.readouterr().err
        assert main(["explain", "mine.png", "yours.jpg", *few, "--gif", "f.gif", "--out", "refused.png"]) == 2
        assert "without strokes: it has no episode; leave out --gif" in capsys.readouterr().err
        assert not Path("refused.png").exists()

    def test_a_run_brings_its_data(self, tmp_path: Path, encoder: Encoder, monkeypatch, capsys) -> None:
        from sketchless.datasets import loading

        def few(seed: int = 0, validation: int = 1) -> SketchDataset:
            return procedural(seed=seed, train=9, test=2, validation=validation, drawers=1)

        monkeypatch.setitem(loading.DATASETS, "few", few)
        monkeypatch.chdir(tmp_path)
        encoder.save("run/encoder.safetensors")
        config = {"dataset": "few", "seed": 0, "split_seed": 4, "validation": 3}
        Path("run/manifest.json").write_text(json.dumps({"command": "encode", "config": config}))
        for sketch in few(4, 3).split("validation").sketch_ids[:2]:
            assert main(["explain", sketch, "--split", "validation", "--encoder", "run"]) == 0
        assert main(["explain", sketch, "--split", "validation", "--encoder", "run/encoder.safetensors"]) == 2
        assert "sketch of procedural (validation)" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["chair-0-0000_0"], "did you mean 'chair-0-0000"),
            (["chair-0-00006_0", "chair-0-000060"], "did you mean 'chair-0-00006'"),
            (["chair-0-00006_0", "chair-0-00006", "--gallery"], "not both"),
            (["--top", "0"], "1 photo or more"),
            (["--split", "tst"], "did you mean 'test'"),
            (["--encoder", "none.safetensors"], "no such encode run or encoder file"),
            (["--agent", "none.safetensors", "--gallery"], "no such file"),
            (["--agent", "none.safetensors"], "--gallery or --gif"),
            (["--dataset", "procedurl"], "did you mean 'procedural'"),
            (["a", "b", "c"], "c"),
        ],
    )
    def test_one_line_of_complaint(self, few: list[str], arguments: list[str], match: str, capsys) -> None:
        assert main(["explain", *arguments, *([] if "--encoder" in arguments else few)]) == 2
        err = capsys.readouterr().err
        assert match in err
        assert len(err.strip().splitlines()) == 1
        assert not Path("explanation.png").exists()


def test_an_encoder_without_patches(chairs: SketchDataset, refuses: Any) -> None:
    blind = Encoder(EncoderConfig(size=32, dim=8))
    del blind.attention
    with refuses(ConfigError, "no map of patches"):
        explain(blind, np.ones((256, 256), dtype=bool), chairs.photo(chairs.split("test").photos[0]))
