"""The batched game: what it shows, ranks and pays, and that a batch is only games side by side."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sketchless.datasets import Sketch, SketchDataset, Split, procedural
from sketchless.datasets.errors import ConfigError, DataError
from sketchless.encoders import Encoder, EncoderConfig, EpisodeBank, encode_banks
from sketchless.encoders.networks.encoder import inference
from sketchless.envs import Core
from sketchless.envs.game.core import Game, Position

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
DIM, WIDTH = 16, 128


@pytest.fixture(scope="module")
def dataset() -> SketchDataset:
    return procedural(train=6, test=4, validation=2, drawers=1)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderConfig(size=32, dim=DIM))


@pytest.fixture(scope="module")
def bank(dataset: SketchDataset, encoder: Encoder) -> EpisodeBank:
    return encode_banks(encoder, dataset, schedule="strokes", splits=["train"])["train"]


@pytest.fixture
def game(bank: EpisodeBank, encoder: Encoder, dataset: SketchDataset) -> Game:
    return Game(bank, encoder, dataset)


def start(game: Game, *sketches: int) -> Position:
    return game.reset(torch.zeros(len(sketches), dtype=torch.int64), torch.tensor(sketches))


def zeros(games: int) -> Tensor:
    return torch.zeros(games, DIM)


def test_keeping_everything_is_the_ordinary_episode(game: Game, bank: EpisodeBank) -> None:
    """Against `Core` on the frames of the `strokes` schedule, encoded by `encode_banks`."""
    n, steps = len(bank), bank.features.shape[1]
    score = Core(bank, "inv-rank").score(torch.arange(n), torch.zeros(n, steps, DIM))
    for sketch in range(n):
        position = start(game, sketch)
        for t in range(int(bank.lengths[sketch])):
            seen = game.observe(position)[0, WIDTH:]  # with the new stroke
            assert torch.allclose(seen, bank.features[sketch, t], atol=1e-6)
            outcome = game.step(position, [True], zeros(1))
            assert int(outcome.rank) == int(score.rank[sketch, t])
            assert float(outcome.reward) == float(score.reward[sketch, t])
            assert bool(outcome.terminated) == (t + 1 == bank.lengths[sketch])
            position = outcome.position


def test_a_decision_shows_in_the_next_observation(game: Game) -> None:
    position = start(game, 0, 0)
    first = game.observe(position)
    assert torch.equal(first[0], first[1])
    outcome = game.step(position, [True, False], zeros(2))
    assert outcome.position.kept == (1, 0)
    kept, dropped = game.observe(outcome.position)
    assert torch.equal(kept[:WIDTH], first[0, WIDTH:])
    assert torch.equal(dropped[:WIDTH], first[0, :WIDTH])
    assert not torch.equal(kept[WIDTH:], dropped[WIDTH:])


def test_dropping_everything_leaves_a_blank_page(game: Game, encoder: Encoder) -> None:
    with inference(encoder):
        blank = encoder.features(torch.zeros(2, 3, 32, 32))[0]
    position = start(game, 1)
    for _ in range(int(game.lengths[1])):
        assert torch.equal(game.observe(position)[0, :WIDTH], blank)
        position = game.step(position, [False], zeros(1)).position
    assert position.kept == (0,)
    assert torch.equal(game.observe(position)[0], torch.cat([blank, blank]))  # no stroke is left


def test_a_displacement_is_added_to_the_embedding(game: Game, bank: EpisodeBank) -> None:
    """Ranks worked out with numpy: photos as near as the own one count against it."""
    action = torch.rand(1, DIM, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for sketch in range(len(bank)):
        outcome = game.step(start(game, sketch), [True], action)
        b = bank.weight.double().numpy() @ bank.features[sketch, 0].double().numpy() + bank.bias.double().numpy()
        embedding = b / np.linalg.norm(b) + action[0].double().numpy()
        similarity = bank.gallery.double().numpy() @ (embedding / np.linalg.norm(embedding))
        assert int(outcome.rank) == (similarity >= similarity[bank.targets[sketch]]).sum()
        assert np.allclose(outcome.similarity[0].numpy(), similarity, atol=1e-5)


def test_scale_and_reward_are_the_users(bank: EpisodeBank, encoder: Encoder, dataset: SketchDataset) -> None:
    action = torch.rand(1, DIM, generator=torch.Generator().manual_seed(0)) * 2 - 1
    half = Game(bank, encoder, dataset, lambda rank, size: size - rank, scale=0.5)
    whole = Game(bank, encoder, dataset)
    a, b = half.step(start(half, 2), [True], action), whole.step(start(whole, 2), [True], action / 2)
    assert torch.equal(a.similarity, b.similarity)
    assert float(a.reward) == game_size(bank) - int(a.rank)


def game_size(bank: EpisodeBank) -> int:
    return len(bank.photo_ids)


def test_a_batch_is_games_side_by_side(bank: EpisodeBank, encoder: Encoder, dataset: SketchDataset) -> None:
    """Same seeds, same decisions: bit for bit the same as one by one, across several games each."""
    rng = np.random.default_rng(0)
    keeps, actions = rng.random((40, 5)) < 0.6, rng.uniform(-0.2, 0.2, (40, 5, DIM))

    def played(games: list[int]) -> list[tuple[Tensor, ...]]:
        game = Game(bank, encoder, dataset)
        position, told = game.reset(torch.tensor(games)), []
        for t in range(40):
            seen = game.observe(position)
            outcome = game.step(position, keeps[t, games].tolist(), torch.from_numpy(actions[t, games]))
            told.append((seen, outcome.rank, outcome.reward, outcome.terminated, outcome.position.state.sketch))
            position = game.next_game(outcome.position, outcome.terminated)
        return told

    together = played([0, 1, 2, 3, 4])
    for k in range(5):
        for mine, ours in zip(played([k]), together, strict=True):
            assert all(torch.equal(a[0], b[k]) for a, b in zip(mine, ours, strict=True))
    assert len({int(s) for told in together for s in told[-1]}) > 2  # several drawings came up


def test_seeds_choose_the_sketches_of_the_ordinary_environment(game: Game, bank: EpisodeBank) -> None:
    seeds = torch.arange(20)
    position, state = game.reset(seeds), game.core.reset(seeds)
    assert torch.equal(position.state.sketch, state.sketch)
    assert torch.equal(game.reset(seeds).state.sketch, Core(bank).reset(seeds).sketch)


def test_only_what_is_over_begins_anew(game: Game) -> None:
    outcome = game.step(start(game, 0, 1), [True, True], zeros(2))
    following = game.next_game(outcome.position, torch.tensor([False, True]))
    assert following.kept == (1, 0)
    assert following.state.step.tolist() == [1, 0]
    assert following.state.episode.tolist() == [0, 1]


def test_no_step_after_the_last_stroke(game: Game, refuses: Refuses) -> None:
    position = start(game, 0)
    for _ in range(int(game.lengths[0])):
        position = game.step(position, [True], zeros(1)).position
    with refuses(ConfigError, "last stroke"):
        game.step(position, [True], zeros(1))


def test_an_action_that_is_no_number_is_refused(game: Game, refuses: Refuses) -> None:
    with refuses(DataError, "nan"):
        game.step(start(game, 0), [True], zeros(1) * torch.nan)


def test_variants_are_drawn_as_the_sketch(bank: EpisodeBank, encoder: Encoder, dataset: SketchDataset) -> None:
    ids = tuple(f"{name}~1" if i == 2 else name for i, name in enumerate(bank.sketch_ids))
    game = Game(replace(bank, sketch_ids=ids), encoder, dataset)
    assert game.sketches[2].id == bank.sketch_ids[2]


def test_what_does_not_belong_together_is_refused(
    bank: EpisodeBank, encoder: Encoder, dataset: SketchDataset, refuses: Refuses
) -> None:
    for other in (EncoderConfig(size=32, dim=DIM, seed=1), EncoderConfig(size=32, dim=DIM + 1)):
        with refuses(ConfigError, "encoder"):
            Game(bank, Encoder(other), dataset)
    with refuses(DataError, "no sketch"):
        Game(bank, encoder, procedural(seed=1, train=6, test=4, validation=2, drawers=1))
    split = dataset.split("train")
    blank = Sketch.from_rows(np.zeros((0, 3)), split.sketches[0].id)
    emptied = Split((blank, *split.sketches[1:]), split.targets, split.photos)
    with refuses(DataError, "has no strokes"):
        Game(bank, encoder, SketchDataset("x", {}, {"train": emptied}, dataset.photo, {}))
