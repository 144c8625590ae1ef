"""The live page in a real browser, on Atlas: a fact is edited, asked, compared with others, and taken back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from conftest import NARROW, WIDE

pytest.importorskip("gradio", reason="needs the [app] extra")

from live_page import answer, ask, pick, ready, served, try_question, write

from ldke_pl.app import Session
from ldke_pl.app.__main__ import serve
from ldke_pl.atlas.cases import background
from ldke_pl.atlas.render import render
from ldke_pl.atlas.world import World
from ldke_pl.errors import ConfigError

# What Gradio counts its own events with.
pytestmark = pytest.mark.filterwarnings("ignore:::gradio.queueing")

Opened = Callable[..., Any]

BASE = ("no edit is in force", "no edit is relevant enough")
COUNTRY, CAPITAL, COLOUR = (
    "Which country is this?",
    "What is the capital of this country?",
    "What colour is the background?",
)
RIVER, LEADER = "Which river flows through the capital of this country?", "Who leads Pipuro? (no picture)"

CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true})
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
  }
  const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a))
  const behind = element => {
    const layers = []
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor))
    return layers.reverse().reduce((under, layer) => over(layer, under), [1, 1, 1])
  }
  const light = rgb => {
    const [r, g, b] = rgb.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const own = e => e.matches('input:not([type=radio]), textarea') ? e.value :
    [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent).join('').trim()
  return [...document.querySelectorAll('body *')].filter(e => own(e) && e.checkVisibility({opacityProperty: true}))
    .filter(e => !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(e.tagName)).map(e => {
      const ground = behind(e), ink = over(rgba(getComputedStyle(e).color), ground)
      const [low, high] = [light(ground), light(ink)].sort((a, b) => a - b)
      return [own(e), Math.round(100 * (high + 0.05) / (low + 0.05)) / 100]
    })
}"""
"""Every text on the page and its contrast with what is behind it, as WCAG 2 has it."""

WIDER = "() => document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[tuple[Session, str]]:
    """One page for all tests; asks for the browser first, without which nothing need be served."""
    with served() as found:
        yield found


@pytest.fixture
def address(site: tuple[Session, str]) -> Iterator[str]:
    """Of the page; what a test has edited is taken back after it."""
    session, where = site
    yield where
    for entry in session.entries():
        session.roll_back(entry.edit_id)


def test_a_fact_is_edited_asked_and_taken_back(address: str, opened: Opened) -> None:
    page = ready(opened(address))
    assert ask(page, COUNTRY) == ("Pipuro", "Pipuro", f"Route: base ({BASE[0]})")
    assert "Kumito is written and answered so; before, the answer was Pipuro." in write(page)
    assert page.locator("#sites tr.chosen").inner_text().startswith("connector")
    assert page.locator("#sites tbody tr").count() == 9
    assert "steps of at most 60" in page.locator("#steps figcaption").inner_text()
    row = page.locator("#edits tbody tr").inner_text()
    assert row.split("\t")[:4] == ["in force", COUNTRY, "Kumito", "connector"]

    base, edited, route = ask(page, "Name the country shown here.")
    assert (base, edited) == ("Pipuro", "Kumito") and row.split("\t")[4] in route
    assert page.locator("#answer tr.chosen").count() == 1
    facts = {name: World().by_name[name].facts["capital"] for name in ("Pipuro", "Kumito")}
    assert try_question(page, CAPITAL)[:2] == (facts["Pipuro"], facts["Kumito"])
    base, edited, route = try_question(page, RIVER)
    assert base != edited and "Kumito" in route

    unrelated = f"Route: base ({BASE[1]})"
    assert try_question(page, COLOUR) == ("teal", "teal", unrelated)
    pick(page, "Zomura")
    assert ask(page, COUNTRY) == ("Zomura", "Zomura", unrelated)
    base, edited, route = try_question(page, LEADER)
    assert (base, route) == (edited, unrelated) and page.locator("#picture img").count() == 0

    pick(page, "Pipuro", 1)
    assert ask(page, COUNTRY)[:2] == ("Pipuro", "Kumito")
    page.locator("#roll-back").click()
    page.locator("#edits .none").wait_for()
    assert ask(page, COUNTRY) == ("Pipuro", "Pipuro", f"Route: base ({BASE[0]})")


def test_edits_are_switched_off_downloaded_and_seen_in_other_tabs(address: str, opened: Opened, tmp_path: Path) -> None:
    page = ready(opened(address))
    write(page)
    other = ready(opened(address))
    assert other.locator("#edits tbody tr").get_attribute("data-state") == "in force"
    other.locator("#disable").click()
    other.locator('#edits tr[data-state="disabled"]').wait_for()
    assert ask(page, COUNTRY)[2] == f"Route: base ({BASE[0]})"
    page.locator("#enable").click()
    page.locator('#edits tr[data-state="in force"]').wait_for()
    assert ask(other, COUNTRY)[1] == "Kumito"
    page.locator("#save").click()
    with page.expect_download() as download:
        page.locator("#zip a").click()
    download.value.save_as(tmp_path / "edits.zip")
    with ZipFile(tmp_path / "edits.zip") as archive:
        assert "edits/edit_config.json" in archive.namelist()
    other.locator("#roll-back").click()
    other.locator("#edits .none").wait_for()
    page.locator("#roll-back").click()  # it is gone already
    page.get_by_text("There is no edit").wait_for()
    page.locator("#edits .none").wait_for()


def test_faults_are_shown_and_the_page_goes_on(address: str, opened: Opened) -> None:
    page = ready(opened(address))
    for question, told in (("  ", "There is no question."), ("<b>x</b> <image>", "The prompt '<b>x</b> <image>'")):
        page.locator("#question input").fill(question)
        page.locator("#ask").click()
        page.locator("#answer .note", has_text=told).wait_for()
    page.locator("#no-picture").click()
    page.locator("#picture img").wait_for(state="detached")
    assert "has no picture to write the connector for" in write(page)
    page.locator("#roll-back").click()
    page.get_by_text("No edit is chosen.").wait_for()
    pick(page, "Detabu")
    assert ask(page, COUNTRY)[0] == "Detabu"


def test_a_picture_of_ones_own_can_be_asked_about(address: str, opened: Opened, tmp_path: Path) -> None:
    country = World().by_name["Koveni"]
    render(country.emblem, background(country, 1), np.random.default_rng(7)).save(tmp_path / "own.png")
    page = ready(opened(address))
    page.locator("#picture").get_by_role("button", name="Remove Image").click()
    page.locator("#picture input[type=file]").set_input_files(tmp_path / "own.png")
    page.locator("#picture img").wait_for()
    assert ask(page, COUNTRY)[0] == "Koveni"


def test_a_phone_and_a_keyboard_are_enough(address: str, opened: Opened) -> None:
    page = ready(opened(address, NARROW))
    assert page.evaluate(WIDER) <= 0
    reach(page, "#question input")
    page.keyboard.press("Control+A")
    page.keyboard.type(CAPITAL)
    page.keyboard.press("Enter")
    assert answer(page)[2] == f"Route: base ({BASE[0]})"
    reach(page, "#write")
    page.keyboard.press("Enter")
    page.locator("#written .note.good").wait_for()
    reach(page, "#question input", "Shift+Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("W" * 120)
    page.locator("#answer .route").evaluate("old => old.remove()")
    page.keyboard.press("Enter")
    answer(page)
    assert page.evaluate(WIDER) <= 0
    reach(page, "#roll-back")
    page.keyboard.press("Space")
    page.locator("#edits .none").wait_for()


def reach(page: Any, wanted: str, key: str = "Tab") -> None:
    """Move the focus there, as somebody without a mouse does."""
    for _ in range(60):
        page.keyboard.press(key)
        if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
            outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
            return
    pytest.fail(f"{wanted} cannot be reached with {key}")


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", NARROW)])
def test_every_text_can_be_read(address: str, opened: Opened, scheme: str, size: tuple[int, int]) -> None:
    page = ready(opened(address, size, scheme))
    write(page)
    try_question(page, CAPITAL)
    found = page.evaluate(CONTRAST)
    assert len(found) > 40
    assert [entry for entry in found if entry[1] < 4.5] == []
    dark = page.evaluate("() => document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")


def test_a_port_that_is_taken_is_a_fault_with_a_hint(site: tuple[Session, str]) -> None:
    session, address = site
    with pytest.raises(ConfigError, match="is taken") as fault:
        serve(session, int(address.rpartition(":")[2]))
    assert "port=" in fault.value.hint


def test_nothing_is_fetched_from_anywhere_else(address: str, opened: Opened) -> None:
    page = opened(address)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    ready(page)
    ask(page, COUNTRY)
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
