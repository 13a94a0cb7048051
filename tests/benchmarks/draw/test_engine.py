"""What is drawn is embedded and ranked as the bank's drawings are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sketchless.agents import make_agent
from sketchless.benchmarks import evaluate
from sketchless.benchmarks.draw.engine import Engine, frame
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import Sketch, reveal
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.encode import encode_banks
from sketchless.encoders.networks.encoder import EncoderConfig
from sketchless.encoders.registry import make_encoder
from sketchless.envs.core import Core

from .conftest import small_dataset


@pytest.fixture(scope="module", params=["linear", "gru"])
def world(request: pytest.FixtureRequest) -> tuple[EpisodeBank, Engine, list[Sketch]]:
    """A bank by strokes of an untrained encoder, and an engine with an agent that does something."""
    dataset = small_dataset()
    encoder = make_encoder(EncoderConfig(size=32, dim=8)).eval()
    bank = encode_banks(encoder, dataset, schedule="strokes", splits=["test"])["test"]
    agent = make_agent("ppo-a-clip", Core(bank, "inv-rank"), policy=request.param)
    generator = torch.Generator().manual_seed(3)
    for weights in agent.policy.mean.parameters():
        weights.data.normal_(0, 0.3, generator=generator)
    if request.param == "gru":
        agent.policy.recall.weight.data.normal_(0, 0.5, generator=generator)
    engine = Engine(encoder, bank, agent, lambda row: dataset.photo(bank.photo_ids[row]))
    return bank, engine, list(dataset.split("test").sketches)


def test_features_are_those_of_the_bank(world: tuple[EpisodeBank, Engine, list[Sketch]]) -> None:
    bank, engine, sketches = world
    for row, sketch in enumerate(sketches[:3]):
        for step in range(int(bank.lengths[row])):
            found = engine.features(sketch.strokes()[: step + 1])
            torch.testing.assert_close(found, bank.features[row, step], rtol=0, atol=1e-6)


def test_ranks_are_those_of_evaluate(world: tuple[EpisodeBank, Engine, list[Sketch]]) -> None:
    bank, engine, sketches = world
    b1, refined = evaluate(None, bank), evaluate(engine.agent, bank)
    assert not np.array_equal(b1.rank, refined.rank)
    for row, sketch in enumerate(sketches):
        curve = engine.curve(engine.follow(sketch.strokes()), int(bank.targets[row]))
        for name, evaluation in (("b1", b1), ("refined", refined)):
            assert curve[name]["rank"] == evaluation.rank[row, : bank.lengths[row]].tolist()
            assert curve[name]["m@A"] == pytest.approx(evaluation.per_sketch("m@A")[row], abs=1e-3)
            assert curve[name]["m@B"] == pytest.approx(evaluation.per_sketch("m@B")[row], abs=1e-3)


def test_frames_of_a_points_schedule_are_the_data_sets(world: tuple[EpisodeBank, Engine, list[Sketch]]) -> None:
    """A drawing cut off at a knot, in the middle of a stroke, is the frame that training saw."""
    sketch = world[2][0]
    knots = reveal(sketch, "points", 20)
    birth = birth_map(sketch, knots)
    ends = np.flatnonzero(sketch.pen_up) + 1
    for step in (0, 7, 19):
        count = next(n for n in range(len(sketch) + 1) if ((birth_map(sketch, [n]) == 0) == (birth <= step)).all())
        starts = np.concatenate([[0], ends])
        strokes = [sketch.points[a : min(b, count)] for a, b in zip(starts, ends, strict=False) if a < count]
        assert (frame(strokes) == (birth <= step)).all()


def test_where_it_stood_is_reused_and_equal_to_beginning_again(
    world: tuple[EpisodeBank, Engine, list[Sketch]],
) -> None:
    _, engine, sketches = world
    strokes = sketches[1].strokes()
    whole = engine.follow(strokes)
    grown = engine.follow(strokes, engine.follow(strokes[:2]))
    for a, b in zip(whole, grown, strict=True):
        assert torch.equal(a.base, b.base)
        assert torch.equal(a.refined, b.refined)


def test_the_lists_begin_with_the_photo_of_rank_one(world: tuple[EpisodeBank, Engine, list[Sketch]]) -> None:
    bank, engine, sketches = world
    standing = engine.follow(sketches[0].strokes())[-1]
    for name, shown in engine.lists(standing).items():
        assert len(shown) == min(10, len(bank.photo_ids))
        assert [score for _, score in shown] == sorted((score for _, score in shown), reverse=True)
        assert engine.curve([standing], shown[0][0])[name]["rank"] == [1]


def test_early_is_the_share_of_the_strokes_at_the_first_rank_of_five_or_less() -> None:
    class Fixed(Engine):
        def __init__(self) -> None:
            pass

        names = tuple("abcdefghij")

        def _similarity(self, standings: object) -> torch.Tensor:
            # photo 9 has rank 10, 6, 5, 1 of 10 for B1; never better than 6 for the refined policy
            def row(rank: int) -> list[float]:
                return [0.9] * (rank - 1) + [0.1] * (10 - rank) + [0.5]

            return torch.tensor([row(r) for r in (10, 6, 5, 1, 7, 6, 6, 10)], dtype=torch.float64)

    curve = Fixed().curve([None] * 4, 9)  # type: ignore[list-item]
    assert curve["b1"]["rank"] == [10, 6, 5, 1]
    assert curve["b1"]["early"] == 75  # the third of four strokes
    assert curve["refined"]["early"] is None
    assert curve["b1"]["m@B"] == pytest.approx(100 * (1 / 10 + 1 / 6 + 1 / 5 + 1) / 4, abs=1e-3)
    assert curve["b1"]["percentile"] == [0, pytest.approx(44.444), pytest.approx(55.556), 100]


def test_an_animation_shows_a_frame_a_stroke(world: tuple[EpisodeBank, Engine, list[Sketch]], tmp_path: Path) -> None:
    _, engine, sketches = world
    strokes = sketches[0].strokes()[:4]
    for target in (None, 2):
        engine.animation(tmp_path / "a.gif", strokes, engine.follow(strokes), target)
        with Image.open(tmp_path / "a.gif") as picture:
            assert 1 < picture.n_frames <= len(strokes)  # equal neighbours are one


def test_an_explanation_names_patches_with_ink(world: tuple[EpisodeBank, Engine, list[Sketch]]) -> None:
    _, engine, sketches = world
    found = engine.explanation(sketches[0].strokes(), 1)
    assert found["photo"] == 1
    assert 0 < len(found["links"]) <= 6
    (rows, columns), ink = found["grid"][0], frame(sketches[0].strokes())
    for link in found["links"]:
        row, column = link["ink"]
        top, left = 256 * row // rows, 256 * column // columns
        assert ink[top : top + 256 // rows + 1, left : left + 256 // columns + 1].any()


def test_mirrored_banks_are_mirrored_live() -> None:
    dataset = small_dataset()
    encoder = make_encoder(EncoderConfig(size=32, dim=8)).eval()
    bank = encode_banks(encoder, dataset, schedule="strokes", splits=["test"], mirror=True)["test"]
    engine = Engine(encoder, replace(bank), None, lambda row: dataset.photo(bank.photo_ids[row]))
    sketch = dataset.split("test").sketches[0]
    last = int(bank.lengths[0]) - 1
    torch.testing.assert_close(engine.features(sketch.strokes()), bank.features[0, last], rtol=0, atol=1e-6)
