"""What a person sees of an episode."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.functional import normalize

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import DataError
from sketchless.datasets.sketch import Sketch
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs import dataset_of
from sketchless.envs.rendering import camera
from sketchless.envs.rendering import renderer as rendering
from sketchless.envs.rendering.renderer import Renderer

STEPS, PHOTOS = 20, 8
GREEN = (0x12, 0x92, 0x4F)
RANKING = [3, 1, 4, 0, 5, 2, 7, 6]  # sketch 1 depicts photo 1 (second), sketch 2 photo 2 (sixth)

Picture = npt.NDArray[np.uint8]
Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]


def colour(photo: int) -> tuple[int, int, int]:
    return 30 * photo + 10, 200 - 20 * photo, 100


def paint(id: str) -> Picture:
    number = int(id.removeprefix("photo-"))
    return np.full((40 + 10 * number, 60, 3), colour(number), np.uint8)


@pytest.fixture(scope="module")
def dataset() -> SketchDataset:
    rng = np.random.default_rng(0)
    sketches = tuple(
        Sketch.from_strokes([rng.uniform(40, 220, (n, 2)) for n in (7, 1, 9, 12)], f"sketch-{i}") for i in range(PHOTOS)
    )
    split = Split(sketches, np.arange(PHOTOS), tuple(f"photo-{i}" for i in range(PHOTOS)))
    return SketchDataset("tiny", {}, {"test": split}, paint, {})


@pytest.fixture(scope="module")
def bank(dataset: SketchDataset) -> EpisodeBank:
    generator = torch.Generator().manual_seed(0)
    split = dataset.split("test")
    return EpisodeBank(
        features=normalize(torch.randn(PHOTOS, STEPS, 6, generator=generator), dim=-1),
        lengths=torch.full((PHOTOS,), STEPS),
        targets=torch.from_numpy(split.targets),
        gallery=normalize(torch.randn(PHOTOS, 4, generator=generator), dim=-1),
        weight=torch.eye(4, 6),
        bias=torch.zeros(4),
        sketch_ids=tuple(sketch.id for sketch in split.sketches),
        photo_ids=split.photos,
        split="test",
        provenance={"steps": STEPS},
    )


@pytest.fixture
def renderer(bank: EpisodeBank, dataset: SketchDataset) -> Renderer:
    return Renderer(bank, dataset)


def middle(picture: Picture, rgb: tuple[int, int, int]) -> float:
    """Middle column of the pixels of exactly this colour; NaN if there are none."""
    columns = np.flatnonzero((picture == rgb).all(axis=-1).any(axis=0))
    return float(columns[0] + columns[-1]) / 2 if len(columns) else float("nan")


def dark(picture: Picture) -> int:
    """Dark pixels in the part of the frame that holds the sketch."""
    return int((picture[24:204, 24:204].max(axis=-1) < 100).sum())


# Frames ----------------------------------------------------------------------------------------------------


def test_a_frame_has_one_even_size_at_every_step(renderer: Renderer) -> None:
    pictures = [
        renderer.rgb(1, 0),
        *(renderer.rgb(i % PHOTOS, i, RANKING, 1 + i % PHOTOS) for i in range(STEPS)),
    ]
    assert {(p.shape, p.dtype) for p in pictures} == {(pictures[0].shape, np.dtype(np.uint8))}
    height, width, channels = pictures[0].shape
    assert height % 2 == width % 2 == 0
    assert channels == 3


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_comparison_has_one_even_size_at_every_step(renderer: Renderer, rows: int) -> None:
    shapes = {renderer.compare(2, t, [("name", RANKING, 6)] * rows).shape for t in (0, 7, STEPS - 1)}
    assert len(shapes) == 1
    assert not any(side % 2 for side in shapes.pop()[:2])


def test_frames_can_be_written_to_and_are_new(renderer: Renderer) -> None:
    first = renderer.rgb(1, 3, RANKING, 2)
    kept = first.copy()
    first[:] = 0
    assert (renderer.rgb(1, 3, RANKING, 2) == kept).all()


def test_another_renderer_draws_the_same(renderer: Renderer, bank: EpisodeBank, dataset: SketchDataset) -> None:
    other = Renderer(bank, dataset)
    other.rgb(5, 1, RANKING, 5)
    assert (renderer.rgb(2, 7, RANKING, 6) == other.rgb(2, 7, RANKING, 6)).all()


def test_the_sketch_grows(renderer: Renderer) -> None:
    ink = [dark(renderer.rgb(1, t)) for t in range(STEPS)]
    assert ink[0] > 0
    assert ink == sorted(ink)
    assert ink[-1] > 5 * ink[0]


def test_photos_stand_in_order(renderer: Renderer) -> None:
    picture = renderer.rgb(1, 3, RANKING, 2)
    places = [middle(picture, colour(photo)) for photo in RANKING[:5]]
    assert places == sorted(places)
    assert np.ptp(np.diff(places)) == 0
    assert all(np.isnan(middle(picture, colour(photo))) for photo in RANKING[5:])


@pytest.mark.parametrize("place", range(5))
def test_a_true_photo_among_the_five_is_framed_where_it_stands(renderer: Renderer, place: int) -> None:
    picture = renderer.rgb(RANKING[place], 3, RANKING, place + 1)
    assert middle(picture, GREEN) == middle(picture, colour(RANKING[place]))


def test_a_true_photo_beyond_the_five_is_framed_apart(renderer: Renderer) -> None:
    picture = renderer.rgb(2, 3, RANKING, 6)
    places = [middle(picture, colour(photo)) for photo in RANKING[:6]]
    assert middle(picture, GREEN) == places[5]
    assert places[5] - places[4] > places[4] - places[3]


def test_frame_stays_within_the_picture(renderer: Renderer) -> None:
    picture = renderer.rgb(2, 3, RANKING, 6)
    for edge in (picture[:4], picture[-4:], picture[:, :4], picture[:, -4:]):
        assert (edge == picture[0, 0]).all()


def test_the_text_tells_step_and_rank(renderer: Renderer) -> None:
    base = renderer.rgb(2, STEPS - 1, RANKING, 6)
    assert (base != renderer.rgb(2, STEPS - 1, RANKING, 7)).any()
    # Nothing is drawn beyond the last frame, so only the count of steps can differ.
    assert (base != renderer.rgb(2, STEPS - 2, RANKING, 6))[:60, 230:].any()


def test_before_the_first_step_there_are_no_photos(renderer: Renderer) -> None:
    picture = renderer.rgb(1, 0)
    assert all(np.isnan(middle(picture, rgb)) for rgb in [GREEN, *map(colour, range(PHOTOS))])
    assert dark(picture) > 0
    assert (picture == renderer.rgb(1, 0, None, None)).all()


def test_a_comparison_shows_each_ranking_and_name(renderer: Renderer) -> None:
    best = [2, *[photo for photo in RANKING if photo != 2]]
    picture = renderer.compare(2, 7, [("B1", RANKING, 6), ("refined", best, 1)])
    half = len(picture) // 2
    assert middle(picture[:half], GREEN) == middle(picture[:half], colour(2))
    assert middle(picture[half:], GREEN) == middle(picture[half:], colour(2)) < middle(picture[:half], GREEN)
    renamed = renderer.compare(2, 7, [("B1", RANKING, 6), ("trpo", best, 1)])
    changed = (picture != renamed).any(axis=(1, 2))
    assert changed[half:].any()
    assert not changed[:half].any()


def test_ties_may_rank_a_photo_worse_than_its_place(renderer: Renderer) -> None:
    picture = renderer.rgb(1, 3, RANKING, PHOTOS)
    assert middle(picture, GREEN) == middle(picture, colour(1))
    assert "> " + f"{PHOTOS:>3}  photo-1" in renderer.ansi(1, 3, RANKING, PHOTOS)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_rankings_of_any_kind_of_sequence(renderer: Renderer, kind: Callable[..., object]) -> None:
    assert (renderer.rgb(2, 3, kind(RANKING), kind(6)) == renderer.rgb(2, 3, RANKING, 6)).all()  # type: ignore[arg-type]
    assert renderer.ansi(2, 3, kind(RANKING), kind(6)) == renderer.ansi(2, 3, RANKING, 6)  # type: ignore[arg-type]


def test_a_gallery_smaller_than_five(bank: EpisodeBank, dataset: SketchDataset) -> None:
    small = replace(
        bank,
        features=bank.features[:2],
        lengths=bank.lengths[:2],
        targets=bank.targets[:2],
        sketch_ids=bank.sketch_ids[:2],
        gallery=bank.gallery[:2],
        photo_ids=bank.photo_ids[:2],
    )
    picture = Renderer(small, dataset).rgb(0, 3, [1, 0], 2)
    assert middle(picture, colour(1)) < middle(picture, colour(0)) == middle(picture, GREEN)


def test_thumbnails_are_read_once_and_do_not_pile_up(
    bank: EpisodeBank, dataset: SketchDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    spy = replace(dataset, photo=lambda id: asked.append(id) or paint(id))  # type: ignore[func-returns-value]
    renderer = Renderer(bank, spy)
    assert asked == []
    for step in range(3):
        renderer.rgb(1, step, RANKING, 2)
    assert asked == [f"photo-{photo}" for photo in RANKING[:5]]
    monkeypatch.setattr(rendering, "_KEPT", 2)
    expected = renderer.rgb(2, 3, RANKING, 6)
    assert (Renderer(bank, spy).rgb(2, 3, RANKING, 6) == expected).all()


# Text ------------------------------------------------------------------------------------------------------


def test_text_lists_ids_rank_and_step(renderer: Renderer) -> None:
    text = renderer.ansi(1, 6, RANKING, 2)
    assert len(text.splitlines()) == 16
    assert f"step 7 of {STEPS}" in text
    assert f"rank 2 of {PHOTOS}" in text
    ids = [f"photo-{photo}" for photo in RANKING]
    positions = [text.index(id) for id in ids[:5]]
    assert positions == sorted(positions)
    assert not any(id in text for id in ids[5:])
    marked = [line for line in text.splitlines() if ">" in line]
    assert len(marked) == 1
    assert marked[0].endswith("2  photo-1 (true)")
    assert "\x1b" not in text


def test_text_shows_a_true_photo_beyond_the_five(renderer: Renderer) -> None:
    text = renderer.ansi(2, 6, RANKING, 6)
    assert text.index("photo-5") < text.index("...") < text.index("6  photo-2 (true)")


def test_text_before_the_first_step(renderer: Renderer) -> None:
    text = renderer.ansi(1, 0)
    assert f"step 1 of {STEPS}" in text
    assert "photo-" not in text
    assert "rank 1" not in text


def dots(text: str) -> int:
    return sum((ord(c) - 0x2800).bit_count() for line in text.splitlines() for c in line[:32])


def test_the_text_drawing_grows_and_keeps_single_dots(
    renderer: Renderer, bank: EpisodeBank, dataset: SketchDataset
) -> None:
    texts = [renderer.ansi(1, t, RANKING, 2) for t in range(STEPS)]
    assert all(0x2800 <= ord(c) < 0x2900 for line in texts[3].splitlines() for c in line[:32])
    amounts = [dots(text) for text in texts]
    assert amounts == sorted(amounts)
    assert amounts[0] < amounts[-1]

    split = dataset.split("test")
    for corner in ((4, 4), (255, 255), (103, 99), (1, 130)):
        point = Sketch.from_strokes([[corner]], "sketch-0")
        dotted = replace(dataset, splits={"test": replace(split, sketches=(point, *split.sketches[1:]))})
        assert dots(Renderer(bank, dotted).ansi(0, STEPS - 1)) == 1


def test_braille_stands_where_the_pen_was(bank: EpisodeBank, dataset: SketchDataset) -> None:
    # Pixel (18, 34) is dot column 4, dot row 8: character 2 of line 2, its upper left dot (bit 0x01).
    split = dataset.split("test")
    point = Sketch.from_strokes([[(18, 34)]], "sketch-0")
    dotted = replace(dataset, splits={"test": replace(split, sketches=(point, *split.sketches[1:]))})
    lines = Renderer(bank, dotted).ansi(0, STEPS - 1).splitlines()
    assert lines[2][2] == chr(0x2801)


# Reveal schedules and ids ----------------------------------------------------------------------------------


def test_strokes_have_their_own_number_of_steps(bank: EpisodeBank, dataset: SketchDataset) -> None:
    by_stroke = replace(bank, reveal="strokes", lengths=torch.full((PHOTOS,), 4))
    renderer = Renderer(by_stroke, dataset)
    assert "step 2 of 4" in renderer.ansi(1, 1, RANKING, 2)
    ink = [dark(renderer.rgb(1, t)) for t in range(4)]
    assert ink == sorted(set(ink))
    assert dark(renderer.rgb(1, 3)) == dark(Renderer(bank, dataset).rgb(1, STEPS - 1))


def test_steps_come_from_the_provenance_or_the_features(bank: EpisodeBank, dataset: SketchDataset) -> None:
    silent = replace(bank, provenance={})
    assert (Renderer(silent, dataset).rgb(1, 4) == Renderer(bank, dataset).rgb(1, 4)).all()
    halved = replace(bank, provenance={"steps": STEPS // 2})
    assert dark(Renderer(halved, dataset).rgb(1, 4)) > dark(Renderer(bank, dataset).rgb(1, 4))


def test_a_variant_is_drawn_as_its_sketch(bank: EpisodeBank, dataset: SketchDataset) -> None:
    variant = replace(bank, sketch_ids=("sketch-3~1", *bank.sketch_ids[1:]))
    assert Renderer(variant, dataset).ansi(0, 9) == Renderer(bank, dataset).ansi(3, 9)


def test_an_unknown_sketch_or_photo_is_refused(bank: EpisodeBank, dataset: SketchDataset, refuses: Refuses) -> None:
    with refuses(DataError, r"tiny \(test\): no sketch 'other' \(1 of 8"):
        Renderer(replace(bank, sketch_ids=("other~2", *bank.sketch_ids[1:])), dataset)
    with refuses(DataError, r"tiny \(test\): no photo 'elsewhere'"):
        Renderer(replace(bank, photo_ids=("elsewhere", *bank.photo_ids[1:])), dataset)


def test_photos_of_another_split_can_be_distractors(bank: EpisodeBank, dataset: SketchDataset) -> None:
    train = Split((), np.zeros(0, np.int64), ("elsewhere",))
    more = replace(dataset, splits={**dataset.splits, "train": train})
    Renderer(replace(bank, photo_ids=(*bank.photo_ids[:-1], "elsewhere")), more)


def test_banks_of_one_origin_share_one_data_set(bank: EpisodeBank, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr("sketchless.datasets.loading.load_dataset", lambda **spec: made.append(spec) or len(made))
    camera._load.cache_clear()
    origins: list[dict[str, object]] = [{"name": "a", "seed": 1}, {"seed": 1, "name": "a"}, {"name": "a", "seed": 2}]
    found = [dataset_of(replace(bank, provenance={"data": origin})) for origin in origins]
    camera._load.cache_clear()
    assert found == [1, 1, 2]
    assert made == [origins[0], origins[2]]
