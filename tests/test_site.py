"""The built site as a reader meets it. Run with `make site && pytest -m browser tests/test_site.py`; needs Chromium."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.browser

SITE = Path(__file__).parents[1] / "build" / "site"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 300_000.0  # milliseconds: for hangs alone
WIDTHS = {"desktop": 1280, "phone": 390}
NOTEBOOKS = sorted(
    path.name.removesuffix(".nb.py") for path in Path(__file__).parents[1].glob("docs/notebooks/*.nb.py")
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The site, served."""
    if not (SITE / "searchindex.js").is_file():
        pytest.skip(f"no site at {SITE}: make site")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"], timeout=PATIENCE
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A tab that asks nobody but this machine."""
    context = browser.new_context(viewport={"width": WIDTHS["desktop"], "height": 900})
    context.set_default_timeout(PATIENCE)
    tab = context.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: urlsplit(request.url).hostname == "127.0.0.1" or asked.append(request.url))
    yield tab
    context.close()
    assert [one for one in asked if not one.startswith("data:")] == []


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [("Carry-v0", "docs/environments/Carry-v0.html"), ("check_causal", "sketchless.envs.testing.check_causal.html")],
)
def test_the_search_finds(page: Any, url: str, asked: str, leads_to: str) -> None:
    page.goto(f"{url}/index.html")
    page.fill("input[name=q]", asked)
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a")
    page.wait_for_function("document.querySelector('#search-results .search-summary').textContent.includes('found')")
    found = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.href)")
    assert any(leads_to in link for link in found), found
    first = next(link for link in found if leads_to in link)
    page.goto(first)
    assert asked in page.inner_text("article")


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize(
    "name",
    ["index", "benchmarks/leaderboard", "docs/benchmarks", *(f"docs/notebooks/{name}" for name in NOTEBOOKS)],
)
def test_a_page_keeps_its_width(page: Any, url: str, name: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{url}/{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for output in page.query_selector_all(".cell_output span[style*=color], .cell_output pre"):
        colour = [int(part) for part in re.findall(r"\d+", output.evaluate("node => getComputedStyle(node).color"))[:3]]
        assert min(colour) < 160, f"{output.inner_text()!r} is nearly white"


class _Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {given["id"]} if given.get("id") else set()  # type: ignore[arg-type]
        for name in ("href", "src"):
            if value := given.get(name):
                self.links.append(value)


def test_links_inside_the_site_lead_somewhere(url: str) -> None:
    pages = {path: _Links(path.read_text(encoding="utf-8")) for path in SITE.rglob("*.html")}
    lost = []
    for path, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name in ("search.html", "genindex.html"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            named = unquote(parts.fragment)
            if not target.is_file() or (named and target in pages and named not in pages[target].anchors):
                lost.append(f"{path.relative_to(SITE)}: {link}")
    assert len(pages) > 100
    assert lost == []
