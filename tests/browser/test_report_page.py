"""The report as a reader has it: on a laptop and a phone, in light and dark, by keyboard, and with a thousand edits."""

import io
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser.conftest import NARROW, WIDE
from browser.made_up import leave_run
from PIL import Image

Opened = Callable[..., Any]

EVIL = "<img src=x onerror='window.evil=1'><script>window.evil=1</script>"
VIEWS = [(size, scheme) for size in (WIDE, NARROW) for scheme in ("light", "dark")]

LOW_CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return leave_run(tmp_path_factory.mktemp("report") / "run", 12)


@pytest.fixture(scope="module")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return leave_run(tmp_path_factory.mktemp("report") / "run", 1000)


@pytest.fixture
def page(opened: Opened, run: Path) -> Any:
    return opened((run / "report.html").as_uri())


def count(page: Any) -> str:
    """What a screen reader is told about the filters' effect."""
    return str(page.get_by_role("status").inner_text())


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")


@pytest.mark.parametrize(("size", "scheme"), VIEWS)
def test_text_has_contrast(opened: Opened, run: Path, size: tuple[int, int], scheme: str) -> None:
    page = opened((run / "report.html").as_uri(), size, scheme)
    unfold(page)
    found = page.evaluate(LOW_CONTRAST)
    assert found["seen"] > 500
    assert found["faults"] == []
    page.add_style_tag(content=":root{--soft:#777}")
    assert page.evaluate(LOW_CONTRAST)["faults"] != [], "the check must be able to fail"


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_page_does_not_scroll_sideways(opened: Opened, run: Path, size: tuple[int, int]) -> None:
    page = opened((run / "report.html").as_uri(), size)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    wide = page.evaluate(
        "[...document.querySelectorAll('*')].filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1"
        " && getComputedStyle(e).overflowX !== 'visible' && !e.matches('.unseen'))"
        ".map((e) => [e.className, e.tabIndex, e.getAttribute('aria-label')])"
    )
    assert all(name == "scroll" and tab == 0 and label for name, tab, label in wide), wide
    assert wide, "the tables are wider than either window"


@pytest.mark.parametrize(("size", "scheme"), VIEWS)
def test_what_is_drawn(opened: Opened, run: Path, size: tuple[int, int], scheme: str) -> None:
    page = opened((run / "report.html").as_uri(), size, scheme)
    boxes = [box.bounding_box() for box in page.locator("main > *").all() if box.is_visible()]
    assert len(boxes) == 7  # results, sites, router, costs, filters, failures, sample
    for above, below in pairwise(boxes):
        assert above["y"] + above["height"] <= below["y"] + 1, "one below the other"
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= size[0] and box["height"] > 20 for box in boxes)
    expected = {"light": (255, 255, 255), "dark": (20, 23, 27)}[scheme]
    assert colours(page.screenshot())[0] == expected
    strip = page.locator(".heat .strip svg").first
    assert strip.bounding_box()["width"] > 80 and strip.bounding_box()["height"] > 15
    for place, names in ((strip, ["--mark", "--s4"]), (page.locator("figure svg").first, ["--accent", "--other"])):
        painted = colours(place.screenshot())
        assert all(colour_of(page, name) in painted for name in names), (names, painted[:5])


def colours(screenshot: bytes) -> list[tuple[int, ...]]:
    """Colours of a picture, the most frequent first."""
    with Image.open(io.BytesIO(screenshot)) as image:
        found = image.convert("RGB").getcolors(1 << 24) or []
    return [colour for _, colour in sorted(found, reverse=True)]


def colour_of(page: Any, name: str) -> tuple[int, ...]:
    value = page.evaluate("(n) => getComputedStyle(document.documentElement).getPropertyValue(n).trim()", name)
    return tuple(bytes.fromhex(value.removeprefix("#")))


def test_outline_labels_and_tables(page: Any) -> None:
    assert page.evaluate("document.documentElement.lang") == "en"
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => +h.tagName[1])")
    assert levels[0] == 1 and set(levels[1:]) == {2}
    controls = page.evaluate(
        "[...document.querySelectorAll('select,input,button')].map((e) => e.labels.length || e.textContent.length)"
    )
    assert len(controls) >= 5 and all(controls)
    captions = page.evaluate("[...document.querySelectorAll('table')].map((t) => t.caption?.textContent.trim())")
    assert len(captions) > 10 and all(captions)
    assert page.locator("th:not([scope])").count() == 0
    links = page.evaluate("[...document.querySelectorAll('a')].map((a) => a.getAttribute('href'))")
    assert len(links) == 6 and all(page.locator(link).count() == 1 for link in links)


def test_it_asks_for_nothing_and_complains_of_nothing(page: Any, run: Path) -> None:
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.reload()
    unfold(page)
    page.get_by_role("searchbox", name="text").fill("capital")
    page.wait_for_timeout(200)
    assert [url for url in asked if not url.startswith("data:")] == [(run / "report.html").as_uri()]
    assert said == []


def test_failures_come_first(page: Any) -> None:
    counts = page.locator(".card .count").all_inner_texts()
    assert counts == ["2 of 13 failed"] * 2 + ["1 of 13 failed"] * 2 + ["0 of 13 failed"] * 8
    first = page.locator(".card").first
    assert first.get_attribute("open") is not None
    assert "case-00000" in first.inner_text() and "relevance 0.00" in first.inner_text()


def test_filters(page: Any) -> None:
    visible = page.locator(".card:visible")
    assert count(page) == "12 of 12 edits"
    for label, choice, cards in (("group", "entity", 3), ("outcome", "wrong answer", 4), ("outcome", "missed", 2)):
        page.get_by_label(label).select_option(choice)
        assert (count(page), visible.count()) == (f"{cards} of 12 edits", cards)
        page.get_by_label(label).select_option("")
    page.get_by_label("outcome").select_option("failed")
    assert page.locator(".card").first.locator("tr[data-kind]:visible").count() == 2
    page.get_by_role("searchbox", name="text").fill("DOKUTON 7")
    assert count(page) == "0 of 12 edits"
    page.get_by_label("outcome").select_option("")
    assert (count(page), visible.count()) == ("1 of 12 edits", 1)
    assert "case-00007" in visible.inner_text()
    page.get_by_label("kind").select_option("visual_locality")
    page.get_by_role("searchbox", name="text").fill("")
    page.get_by_role("button", name="Open all").click()
    assert count(page) == "12 of 12 edits"
    assert page.locator("tr[data-kind]:visible").count() == 12


def test_by_keyboard(page: Any) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
            assert width >= 2, page.evaluate("document.activeElement.outerHTML.slice(0, 80)")
            if page.evaluate("(s) => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    tab_to("select[name=group]")
    page.keyboard.press("ArrowDown")
    assert count(page) == "9 of 12 edits"
    page.keyboard.press("ArrowUp")
    tab_to("input[name=text]")
    page.keyboard.type("case-00004")
    assert count(page) == "1 of 12 edits"
    tab_to(".card:not([hidden]) > summary")
    page.keyboard.press("Enter")
    assert page.locator(".card:visible").get_attribute("open") is not None


def test_text_from_data_is_text(opened: Opened, tmp_path: Path) -> None:
    folder = leave_run(tmp_path / "run", 2, prompt=EVIL)
    page = opened((folder / "report.html").as_uri())
    unfold(page)
    assert page.evaluate("[window.evil, document.images.length, document.scripts.length]") == [None, 0, 1]
    assert page.get_by_text(EVIL).first.is_visible()


def test_a_thousand_edits(opened: Opened, large_run: Path) -> None:
    report = large_run / "report.html"
    assert report.stat().st_size < 5_000_000
    page = opened(report.as_uri())
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 10_000
    assert page.evaluate("document.querySelectorAll('*').length") < 60_000
    assert "334 of 1000 edits" in page.inner_text("main") and "has the other 134" in page.inner_text("main")
    assert count(page) == "212 of 212 edits"
    keys = [timed(page, f"set('{'Dokuton 90'[: n + 1]}')") for n in range(10)]
    assert count(page) not in ("212 of 212 edits", "0 of 212 edits")
    assert max(keys) < 1000, keys
    assert timed(page, "document.getElementById('toggle').click()") < 5000


def timed(page: Any, change: str) -> float:
    """Milliseconds until the page is laid out again after a change; ``set(text)`` is one key stroke in the filter."""
    took: float = page.evaluate(
        f"""() => {{
            const set = (text) => {{
                const field = document.forms[0].elements.text;
                field.value = text;
                field.dispatchEvent(new Event("input", {{ bubbles: true }}));
            }};
            const start = performance.now();
            {change};
            document.body.offsetHeight;
            return performance.now() - start;
        }}"""
    )
    return took


def test_pictures_are_taken_anew(browser: Any, run: Path, tmp_path: Path) -> None:
    taken = [sys.executable, "-m", "ldke_pl.report.picture", str(run), str(tmp_path / "images")]
    subprocess.run(taken, check=True)  # one process can drive one browser
    found = {path.name: path.stat().st_size for path in (tmp_path / "images").iterdir()}
    assert set(found) == {"edit.png", "report-wide.png", "report-narrow.png", "report-dark.png"}
    assert all(1000 < size < 250_000 for size in found.values())
    with Image.open(tmp_path / "images" / "report-narrow.png") as image:
        assert image.width == 390
