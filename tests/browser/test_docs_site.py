"""The documentation as a site: built strictly, whole without a network, and read in a browser."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
NAMES = {"href", "src"}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="needs the [docs] extra")
    folder = tmp_path_factory.mktemp("docs") / "site"
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


def build(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(root / "mkdocs.yml"), "-d", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=quiet, timeout=300)


class Links(HTMLParser):
    """What a page links to or loads, and the anchors that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [(tag, value) for name, value in given.items() if name in NAMES and value]
        self.anchors |= {value for name, value in given.items() if name == "id" and value}


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 20
    for page, found in pages.items():
        for tag, link in found.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert tag == "a", f"{page.name} loads {link}"
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.is_file() or (target / "index.html").is_file(), f"{page.name}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors | {"__top"}, f"{page.name}: {link}"


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?https?:|@import", style.read_text(encoding="utf-8")), style


@pytest.mark.parametrize(
    "link", ["[gone](nowhere.md)", "[gone](../experiments/nowhere.md)", "[gone](method.md#nowhere)"]
)
def test_a_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    pytest.importorskip("material", reason="needs the [docs] extra")
    for name in ("mkdocs.yml", "docs", "experiments", "data/README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy = ["cp", "-r", str(ROOT / name), str(tmp_path / name)]
        subprocess.run(copy, check=True)
    (tmp_path / "data/atlas/model").mkdir(parents=True)
    subprocess.run(["cp", str(ROOT / "data/atlas/model/card.json"), str(tmp_path / "data/atlas/model")], check=True)
    with (tmp_path / "docs" / "cluster.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{link}\n")
    broken = build(tmp_path, tmp_path / "site")
    assert broken.returncode == 1
    assert "nowhere" in broken.stderr and "cluster.md" in broken.stderr


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_page_is_read_without_a_network(site: Path, opened: Callable[..., Any], scheme: str) -> None:
    page = opened(f"file://{site / 'index.html'}", scheme=scheme)
    loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if name.startswith("http")] == []
    widths = page.evaluate("[...document.querySelectorAll('article img')].map(image => image.naturalWidth)")
    assert len(widths) > 8 and all(widths)
    page.get_by_role("link", name="The method", exact=True).first.click()
    assert page.get_by_role("heading", name="The method", exact=False).first.is_visible()


def test_a_message_is_found_on_its_page(site: Path, opened: Callable[..., Any]) -> None:
    page = opened(f"file://{site / 'troubleshooting.html'}", size=(390, 844))
    heading = page.get_by_role("heading", name="A prompt is empty.")
    heading.scroll_into_view_if_needed()
    assert heading.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
