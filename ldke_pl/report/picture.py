"""Pictures of a finished run for the documentation: one edit that spread and moved nothing else, and the report.

    python -m ldke_pl.report.picture RUN_FOLDER FOLDER

Writes ``edit.png``, ``report-wide.png``, ``report-narrow.png`` and ``report-dark.png``. Needs the ``browser`` extra and
a Chromium.
"""

import io
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ldke_pl.cli import run_module
from ldke_pl.errors import ConfigError
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.report.cards import Card, cards
from ldke_pl.report.html import environment
from ldke_pl.report.pictures import embed
from ldke_pl.report.runs import read_run

PARTS = {
    "The edit": ("reliability",),
    "Related questions follow": ("text_generality", "portability_1"),
    "Other questions do not": ("finegrained_locality", "image_locality"),
}
"""Heading to the kinds of which one probe each is shown."""

SIDE = 240
"""Longest side of a picture as it is embedded, in pixels."""


@dataclass(frozen=True)
class Shot:
    """A part of the report: so many pixels, from the top of an element on."""

    width: int
    height: int
    start: str
    scheme: str = "light"


SHOTS = {
    "report-wide": Shot(1280, 1900, "#results"),
    "report-narrow": Shot(390, 1500, "#filters"),
    "report-dark": Shot(1280, 1000, "#failures", "dark"),
}


def story(rows: Sequence[ProbeResult]) -> tuple[Card, Mapping[str, Sequence[ProbeResult]]]:
    """Find the first edit, of those in force together, with a probe of each kind that went right.

    Returns:
        The edit, and heading to the probes to show.

    Raises:
        ConfigError: there is none.
    """
    for card in cards(row for row in rows if row.mode == "joint"):
        shown = {title: [row for kind in kinds for row in _first(card, kind)] for title, kinds in PARTS.items()}
        if all(len(shown[title]) == len(kinds) for title, kinds in PARTS.items()):
            return card, shown
    raise ConfigError(
        "No edit of this run's joint set has all kinds of probes and gets them right.", "give a run with more edits"
    )


def _first(card: Card, kind: str) -> list[ProbeResult]:
    """The first probe of a kind that went right; of relevant ones the first whose answer is another one now."""
    return [row for row in card.passed if row.kind == kind and row.relevant is (row.before != row.after)][:1]


def edit_page(rows: Sequence[ProbeResult]) -> str:
    """One edit with its own question, two that follow it and two that do not, as a page."""
    card, parts = story(rows)
    together = len({row.edit_id for row in rows if (row.method, row.mode) == (card.any.method, "joint")})
    pictures = embed((row.image for row in card.rows), side=SIDE)
    page = environment().get_template("edit.html.j2")
    return page.render(card=card, parts=parts, together=together, pictures=pictures)


@contextmanager
def _browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        raise ConfigError("Pictures are taken by a browser.", "pip install -e '.[browser]', and install Chromium")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


def _taken(browser: Any, address: str, shot: Shot) -> bytes:
    size = {"width": shot.width, "height": shot.height}
    page = browser.new_page(viewport=size, color_scheme=shot.scheme)
    page.goto(address)
    top = page.locator(shot.start).bounding_box()["y"] - 16
    taken: bytes = page.screenshot(full_page=True, clip={"x": 0, "y": top, **size})
    page.close()
    return taken


def _drawn(browser: Any, source: str) -> bytes:
    page = browser.new_page(viewport={"width": 800, "height": 600}, device_scale_factor=1.5)
    page.set_content(source)
    taken: bytes = page.locator("main").screenshot()
    page.close()
    return taken


def _keep(taken: bytes, path: Path) -> None:
    """Write a picture with a palette: it is half as large, and a page has few colours."""
    with Image.open(io.BytesIO(taken)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main(argv: Sequence[str]) -> int | None:
    """Take the pictures of a run."""
    if len(argv) != 2:
        print(__doc__)
        return 2
    run, folder = (Path(argument) for argument in argv)
    source = edit_page(read_run(run).rows)
    with _browser() as browser:
        folder.mkdir(parents=True, exist_ok=True)
        _keep(_drawn(browser, source), folder / "edit.png")
        for name, shot in SHOTS.items():
            _keep(_taken(browser, (run / "report.html").resolve().as_uri(), shot), folder / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(run_module(main, __doc__))
