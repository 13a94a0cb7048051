"""A real browser draws. Run with `pytest -m browser`; needs Chromium and the package `playwright`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sketchless.benchmarks import evaluate
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.draw.collect import Collector
from sketchless.benchmarks.draw.engine import Engine
from sketchless.benchmarks.draw.server import create_app
from sketchless.datasets.loading import load_dataset

from .conftest import PATIENCE, Served, serving

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
AXE = Path(os.environ.get("AXE", Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"))
CHAIR = [  # strokes of a chair, in canvas pixels
    [(80, 40), (84, 90), (86, 140)],
    [(80, 40), (120, 36), (150, 42), (152, 90), (150, 138)],
    [(86, 140), (150, 138), (176, 156), (104, 164), (86, 140)],
    [(104, 164), (106, 220)],
    [(176, 156), (178, 212)],
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=1000 * PATIENCE)
        yield browser
        browser.close()


class Page:
    """One tab, which may ask nobody but its server and may log no error."""

    def __init__(self, browser: Any, url: str, offline: bool = False, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.host = url.split("/")[2]
        self.offline = offline  # whether a server that is gone is part of the test
        self.page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "request", lambda request: request.url.startswith((url, "blob:")) or self.faults.append(request.url)
        )
        self.page.goto(url)
        self.until("document.body.dataset.online === 'yes'")

    def _own(self, url: str) -> bool:
        return url.startswith("blob:") or url.split("/")[2] == self.host

    def until(self, condition: str, seconds: float = PATIENCE) -> None:
        for _ in range(int(seconds * 40)):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(25)
        pytest.fail(f"never came true: {condition}; the page says {self.page.inner_text('#message')!r}")

    def draw(self, strokes: Any) -> None:
        box = self.page.locator("#canvas").bounding_box()
        for stroke in strokes:
            for n, (x, y) in enumerate(stroke):
                self.page.mouse.move(box["x"] + x * box["width"] / 256, box["y"] + y * box["height"] / 256, steps=3)
                if n == 0:
                    self.page.mouse.down()
            self.page.mouse.up()

    def settled(self, strokes: int) -> None:
        """Wait until the answer for so many strokes is on show."""
        self.until(
            f"document.querySelector('#count').textContent === '{strokes}' && "
            "document.body.dataset.seq === document.body.dataset.asked"
        )

    def lists(self) -> dict[str, list[str]]:
        return {
            name: self.page.eval_on_selector_all(f"#{name} li[data-row]", "all => all.map(x => x.dataset.row)")
            for name in ("b1", "refined")
        }

    def ranks(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = json.loads(self.page.evaluate("document.body.dataset.ranks"))
        return found

    def close(self) -> None:
        if not self.page.is_closed():
            self.context.close()
        if not self.offline:
            assert self.faults == []


@pytest.fixture
def browse(chromium: Any) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def open_page(url: str, **options: Any) -> Page:
        pages.append(Page(chromium, url, **options))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


def test_drawing_by_mouse_moves_the_photos_and_undo_moves_them_back(
    serve: Callable[..., Served], browse: Callable[..., Page]
) -> None:
    tab = browse(serve().url)
    seen = []
    for number, stroke in enumerate(CHAIR, start=1):
        tab.draw([stroke])
        tab.settled(number)
        seen.append(tab.lists())
        assert [len(rows) for rows in seen[-1].values()] == [10, 10]
    assert len({json.dumps(lists) for lists in seen}) > 1
    for number in range(len(CHAIR) - 1, 0, -1):
        tab.page.click("#undo")
        tab.settled(number)
        assert tab.lists() == seen[number - 1]
    for number in range(2, len(CHAIR) + 1):
        tab.page.click("#redo")
        tab.settled(number)
        assert tab.lists() == seen[number - 1]
    for number in range(1, len(CHAIR) + 1):  # replay equals what was live
        tab.page.locator("#slider").evaluate(f"s => {{ s.value = {number}; s.dispatchEvent(new Event('input')); }}")
        tab.until("document.body.dataset.seq === document.body.dataset.asked")
        assert tab.lists() == seen[number - 1]
    tab.page.click("#clear")
    tab.until("document.querySelector('#count').textContent === '0' && document.querySelector('#b1 .empty')")


def test_drawing_by_touch(serve: Callable[..., Served], browse: Callable[..., Page]) -> None:
    tab = browse(serve().url, has_touch=True, is_mobile=True, device_scale_factor=2)
    box = tab.page.locator("#canvas").bounding_box()
    touch = tab.context.new_cdp_session(tab.page)
    for number, stroke in enumerate(CHAIR[:2], start=1):
        for n, (x, y) in enumerate(stroke):
            point = {"x": box["x"] + x * box["width"] / 256, "y": box["y"] + y * box["height"] / 256}
            kind = "touchMove" if n else "touchStart"
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        tab.settled(number)
    assert [len(rows) for rows in tab.lists().values()] == [10, 10]
    assert tab.page.evaluate("scrollY") == 0  # the page did not scroll under the finger


def test_the_curve_of_an_example_has_the_ranks_of_evaluate(
    serve: Callable[..., Served], browse: Callable[..., Page], engine: Engine
) -> None:
    tab = browse(serve().url)
    tab.page.wait_for_selector("#examples li")
    tab.page.click("#examples li:nth-child(2) button")
    count = engine.examples()[1].sketch.n_strokes
    tab.until("document.body.dataset.ranks")
    tab.until("document.querySelector('#replay').textContent === 'Replay'")
    assert tab.ranks()["b1"] == _ranks(None)[1, :count].tolist()
    assert tab.ranks()["refined"] == _ranks(engine.agent)[1, :count].tolist()
    assert "top 5" in tab.page.inner_text("#figures")
    assert tab.page.get_attribute("#target-photo", "alt").endswith(engine.names[engine.examples()[1].target])


def _ranks(agent: Any) -> Any:
    """Ranks of the test drawings on the bank that the engine's gallery is from."""
    from sketchless.encoders.encode import encode_banks
    from sketchless.encoders.networks.encoder import EncoderConfig
    from sketchless.encoders.registry import make_encoder

    from .conftest import small_dataset

    encoder = make_encoder(EncoderConfig(size=32, dim=8)).eval()
    return evaluate(agent, encode_banks(encoder, small_dataset(), schedule="strokes", splits=["test"])["test"]).rank


def test_after_a_restart_of_the_server_the_drawing_goes_on(engine: Engine, browse: Callable[..., Page]) -> None:
    with serving(create_app(engine)) as served:
        port = served.port
        tab = browse(served.url, offline=True)
        tab.draw(CHAIR[:2])
        tab.settled(2)
        before = tab.lists()
    tab.until("document.body.dataset.online === 'no'")
    tab.draw(CHAIR[2:3])  # nobody listens
    with serving(create_app(engine), port):
        tab.until("document.body.dataset.online === 'yes'")
        tab.settled(3)
        assert tab.lists() != before
        tab.page.click("#undo")
        tab.settled(2)
        assert tab.lists() == before
    tab.context.close()


def test_two_tabs_do_not_mix(serve: Callable[..., Served], browse: Callable[..., Page]) -> None:
    served = serve()
    one, two = browse(served.url), browse(served.url)
    one.draw(CHAIR)
    one.settled(5)
    before = one.lists()
    two.draw([[(20, 200), (240, 210)]])
    two.settled(1)
    assert two.lists() != before
    one.page.click("#undo")
    one.page.click("#redo")
    one.settled(5)
    assert one.lists() == before


def test_everything_by_keys(serve: Callable[..., Served], browse: Callable[..., Page]) -> None:
    tab = browse(serve().url, reduced_motion="reduce")
    keys = tab.page.keyboard
    keys.press("Tab")
    assert tab.page.evaluate("document.activeElement.id") == "canvas"
    keys.press("Space")
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "Shift+ArrowLeft"):
        for _ in range(4):
            keys.press(key)
    keys.press("Space")
    tab.settled(1)
    first = tab.lists()
    for key in ("ArrowLeft", "Space", "ArrowUp", "ArrowUp", "Escape"):
        keys.press(key)
    tab.settled(2)
    assert tab.page.evaluate("document.getAnimations().length") == 0  # reduced motion
    keys.press("u")
    tab.settled(1)
    assert tab.lists() == first
    keys.press("Control+y")
    tab.settled(2)
    for _ in range(40):
        keys.press("Tab")
        if tab.page.evaluate("document.activeElement.closest('#refined li') !== null"):
            break
    row = tab.page.evaluate("document.activeElement.closest('li').dataset.row")
    keys.press("Enter")
    tab.until("document.body.dataset.ranks")
    assert tab.ranks()["refined"][-1] == 1 + tab.lists()["refined"].index(row)
    assert "rank" in tab.page.inner_text("#spoken") or "First is" in tab.page.inner_text("#spoken")
    keys.press("c")
    tab.until("document.querySelector('#count').textContent === '0'")


def test_a_hit_is_explained_where_one_points(serve: Callable[..., Served], browse: Callable[..., Page]) -> None:
    tab = browse(serve().url)
    tab.draw(CHAIR)
    tab.settled(5)
    tab.page.hover("#refined li:nth-child(2) button")
    tab.until("document.querySelectorAll('#marks rect').length > 0")
    assert tab.page.locator("#patches rect").count() == tab.page.locator("#marks rect").count()


def test_drawing_and_animation_can_be_saved(
    serve: Callable[..., Served], browse: Callable[..., Page], tmp_path: Path
) -> None:
    tab = browse(serve().url)
    tab.draw(CHAIR)
    tab.settled(5)
    with tab.page.expect_download() as found:
        tab.page.click("#save-drawing")
    record = json.loads(Path(found.value.path()).read_text())
    assert len(record["drawing"]) == 5
    assert record["canvas"] == [256, 256]
    x, y, times = record["drawing"][0]
    assert (round(x[0]), round(y[0]), round(x[-1]), round(y[-1])) == (80, 40, 86, 140)
    assert times == sorted(times)
    with tab.page.expect_download() as found:
        tab.page.click("#save-gif")
    with Image.open(found.value.path()) as picture:
        assert picture.format == "GIF"
        assert picture.n_frames > 1
    with tab.page.expect_download() as found:
        tab.page.click("#save-webm")
    content = Path(found.value.path()).read_bytes()
    assert content[:4] == bytes([0x1A, 0x45, 0xDF, 0xA3])  # EBML, as WebM is
    assert b"webm" in content[:64]
    assert len(content) > 10_000
    tab.until("document.querySelector('#count').textContent === '5'")


def test_names_of_files_are_text(engine: Engine, browse: Callable[..., Page]) -> None:
    names = tuple(f"<img src=x onerror=document.body.dataset.hacked=1>{n}" for n in range(len(engine.names)))
    evil = Engine(engine.encoder, replace(engine.bank, photo_ids=names), engine.agent, engine.photo, engine.examples)
    with serving(create_app(evil)) as served:
        tab = browse(served.url)
        tab.draw(CHAIR[:2])
        tab.settled(2)
        tab.page.click("#b1 li button")
        tab.until("document.querySelector('#target-name').textContent.startsWith('<img')")
        assert tab.page.evaluate("document.body.dataset.hacked") is None
        tab.close()


def test_a_screen_of_320_pixels_is_enough(serve: Callable[..., Served], browse: Callable[..., Page]) -> None:
    tab = browse(serve().url)
    tab.page.set_viewport_size({"width": 320, "height": 600})
    tab.draw(CHAIR)
    tab.settled(5)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 320
    sizes = tab.page.eval_on_selector_all("#tools button", "all => all.map(b => b.offsetHeight || 40)")
    assert min(sizes) >= 40


def test_the_canvas_fits_a_phone_on_its_side(serve: Callable[..., Served], browse: Callable[..., Page]) -> None:
    tab = browse(serve().url)
    tab.page.set_viewport_size({"width": 844, "height": 390})
    box = tab.page.locator("#paper").bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1)
    assert box["height"] <= 390
    # the desk moves with the page, so that its tools can be reached
    assert tab.page.locator("#desk").evaluate("desk => getComputedStyle(desk).position") == "static"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(
    serve: Callable[..., Served], browse: Callable[..., Page], photos: Path, tmp_path: Path, scheme: str
) -> None:
    if not AXE.is_file():
        pytest.skip("no axe-core here: npm install axe-core, or AXE=<axe.min.js>")
    tab = browse(serve().url, color_scheme=scheme)
    tab.draw(CHAIR)
    tab.settled(5)
    tab.page.click("#b1 li button")
    tab.page.click("#gallery-box summary")
    tab.until("document.body.dataset.ranks")
    collector = Collector(photos, tmp_path / "set", seconds=0.1)
    with serving(create_app(None, collector)) as served:
        other = browse(served.url, color_scheme=scheme)
        for page in (tab.page, other.page):
            page.evaluate(AXE.read_text(encoding="utf-8"))  # by the debugger: the page's policy forbids other scripts
            found = page.evaluate("axe.run()")["violations"]
            told = [
                (fault["id"], fault["nodes"][0]["html"])
                for fault in found
                if fault["impact"] in ("serious", "critical")
            ]
            assert told == []
        other.close()
    collector.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    dataset = load_dataset("procedural", train=4, validation=2, test=12, drawers=1)
    for name in dataset.split("test").photos:
        Image.fromarray(dataset.photo(name)).save(folder / f"{name}.png")
    return folder


def test_what_is_taken_back_is_collected_and_a_lost_server_loses_nothing(
    browse: Callable[..., Page], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "my-set"
    ready = "document.querySelector('#model').hidden && !document.querySelector('#skip').disabled"
    collector = Collector(photos, out, seconds=0.2)
    with serving(create_app(None, collector)) as served:
        port = served.port
        tab = browse(served.url, offline=True)
        tab.until(ready)
        name = tab.page.get_attribute("#canvas", "data-photo")
        tab.draw(CHAIR[:3])
        tab.until("document.body.dataset.kept === '3'")
        tab.page.keyboard.press("u")
        tab.until("document.body.dataset.kept === '2'")
        tab.page.keyboard.press("r")
        tab.until("document.body.dataset.kept === '3'")
        tab.page.keyboard.press("c")
        tab.until("document.body.dataset.kept === '0'")
    collector.close()
    tab.until("document.body.dataset.online === 'no'")
    tab.draw(CHAIR[3:])  # nobody listens
    collector = Collector(photos, out, seconds=0.2, seed=9)
    with serving(create_app(None, collector), port):
        tab.until("document.body.dataset.kept === '2'")
        assert tab.page.get_attribute("#canvas", "data-photo") == name
        tab.page.click("#finish")
        tab.until("document.querySelector('#drawn').textContent === '1 of 12'")
        tab.context.close()
    collector.close()
    (file,) = (out / "sketches").rglob("*.ndjson")
    record = json.loads(file.read_text())
    assert record["photo"] == name
    assert [[round(axis[0]) for axis in stroke[:2]] for stroke in record["drawing"]] == [[104, 164], [176, 156]]
    gone = [tuple(round(axis[0]) for axis in entry["stroke"][:2]) for entry in record["undone"]]
    assert gone == [(86, 140), (86, 140), (80, 40), (80, 40)]  # one undone, then all cleared, the last first
    times = [entry["at"] for entry in record["undone"]]
    assert times == sorted(times)
    assert all(at >= entry["stroke"][2][-1] for at, entry in zip(times, record["undone"], strict=True))
    (back,) = record["redone"]
    assert times[0] <= back <= times[1]
    assert record["drawing"][0][2][0] >= times[-1]


def test_a_drawing_stops_at_its_limits_and_can_be_finished(
    browse: Callable[..., Page], photos: Path, tmp_path: Path
) -> None:
    collector = Collector(photos, tmp_path / "my-set", seconds=0.1)
    with serving(create_app(None, collector)) as served:
        tab = browse(served.url)
        tab.until("document.querySelector('#model').hidden && !document.querySelector('#skip').disabled")
        scribble = """() => {
            const canvas = document.querySelector('#canvas'), box = canvas.getBoundingClientRect();
            const send = (kind, n) => canvas.dispatchEvent(new PointerEvent(kind, {
                pointerId: 7, clientX: box.x + 20 + n % 97, clientY: box.y + 20 + n % 89, bubbles: true }));
            send('pointerdown', 0);
            for (let n = 1; n < 12000; n++) send('pointermove', n);
            send('pointerup', 0);
        }"""
        for _ in range(6):  # six times what a drawing may hold; five times 10,000 can be taken back
            tab.page.evaluate(scribble)
            tab.until("document.body.dataset.kept === '1'")
            assert "10000 points" in tab.page.inner_text("#message")
            tab.page.click("#clear")
            tab.page.wait_for_timeout(50)
        assert "taken back" in tab.page.inner_text("#message")
        tab.page.click("#finish")
        tab.until("document.querySelector('#drawn').textContent === '1 of 12'")
        tab.close()
    collector.close()


def test_a_collected_set_is_encoded_and_trained_on(browse: Callable[..., Page], photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "my-set"
    generator = np.random.default_rng(0)
    collector = Collector(photos, out, seconds=0.2)
    with serving(create_app(None, collector)) as served:
        tab = browse(served.url)
        for number in range(12):
            tab.until("document.querySelector('#model').hidden && !document.querySelector('#skip').disabled")
            assert tab.page.locator("#drawn").inner_text() == f"{number} of 12"
            for stroke in CHAIR:
                moved = [(x + int(generator.integers(-9, 9)), y + int(generator.integers(-9, 9))) for x, y in stroke]
                tab.draw([moved])
            tab.until("document.body.dataset.kept === '5'")
            if number == 0:
                tab.page.click("#undo")
                tab.until("document.body.dataset.kept === '4'")
            if number == 3:  # the browser is closed in the middle of a drawing
                name = tab.page.get_attribute("#canvas", "data-photo")
                tab.close()
                tab = browse(served.url)
                assert tab.page.get_attribute("#canvas", "data-photo") == name
                tab.until("document.querySelector('#finish').disabled === false")
            tab.page.click("#finish")
            tab.until(f"document.querySelector('#drawn').textContent === '{number + 1} of 12'")
        tab.until("document.querySelector('#about').textContent.startsWith('All photos')")
        tab.close()
    collector.close()
    files = sorted((out / "sketches").rglob("*.ndjson"))
    assert len(files) == 12
    records = [json.loads(file.read_text()) for file in files]
    assert sorted(len(record["drawing"]) for record in records) == [4] + [5] * 11
    assert sum(len(record["undone"]) for record in records) == 1
    encoded, trained = tmp_path / "encoded", tmp_path / "trained"
    small = ["--epochs", "1", "--size", "32", "--dim", "8", "--steps", "5", "--validation", "2"]
    assert main(["encode", "--dataset", str(out), *small, "--out", str(encoded)]) == 0
    bank = str(encoded / "bank.safetensors")
    assert main(["train", "--bank", bank, "--passes", "1", "--no-gif", "--logger", "none", "--out", str(trained)]) == 0
