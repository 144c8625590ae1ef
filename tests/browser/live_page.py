"""The live page on Atlas, served in this process, and what a reader does on it; ``python`` on this file takes pictures.

PYTHONPATH=. python tests/browser/live_page.py docs/images      # app-wide.png, app-narrow.png, app-dark.png
"""

import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import QUIET

from ldke_pl.app import Session
from ldke_pl.app.__main__ import HOST, serve
from ldke_pl.app.opening import open_session
from ldke_pl.config import CONF_DIR, AppConfig, load_config

SECONDS = 30_000
"""Longest wait for an edit, in milliseconds."""


@contextmanager
def served() -> Iterator[tuple[Session, str]]:
    """A session of Atlas, and the address of its page."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    session = open_session(load_config(AppConfig, CONF_DIR / "app.yaml", []))
    page = serve(session, port)
    try:
        yield session, f"http://{HOST}:{port}"
    finally:
        page.close(verbose=False)
        session.close()


def ready(page: Any) -> Any:
    """The page once it can be used."""
    page.locator("#edits .none, #edits table").wait_for()
    return page


def answer(page: Any) -> tuple[str, str, str]:
    """What base and edited model said to the last question, and the route."""
    page.locator("#answer .route").wait_for()
    base, edited = page.locator("#answer dd").all_inner_texts()
    return base, edited, page.locator("#answer .route").inner_text()


def ask(page: Any, question: str) -> tuple[str, str, str]:
    """Type a question and ask it with Enter."""
    clear(page)
    page.locator("#question input").fill(question)
    page.locator("#question input").press("Enter")
    return answer(page)


def try_question(page: Any, text: str) -> tuple[str, str, str]:
    """Ask one of the questions that the page offers."""
    clear(page)
    page.locator(".tries").get_by_role("button", name=text).click()
    return answer(page)


def clear(page: Any) -> None:
    """Forget the last answer, so that the next cannot be mistaken for it."""
    page.evaluate("for (const old of document.querySelectorAll('#answer .route')) old.remove()")


def write(page: Any) -> str:
    """Write the edit that the fields tell, and give the note on how it went."""
    page.locator("#write").click()
    page.locator("#written .note").wait_for(timeout=SECONDS)
    return str(page.locator("#written .note").inner_text())


def pick(page: Any, name: str, number: int = 0) -> None:
    """Take one of the pictures with that name."""
    before = page.locator("#picture img").get_attribute("src") if page.locator("#picture img").count() else ""
    page.locator("#gallery button").filter(has_text=name).nth(number).click()
    page.wait_for_function(
        "old => { const now = document.querySelector('#picture img'); return now && now.src !== old }", arg=before
    )


def main(folder: Path) -> None:
    """Take a picture of the page after an edit, at a laptop's and at a phone's width, and in the dark."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    shots = {"app-wide": (1280, "light"), "app-narrow": (390, "light"), "app-dark": (1280, "dark")}
    with served() as (session, address), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        for name, (width, scheme) in shots.items():
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(address)
            write(ready(page))
            try_question(page, "What is the capital of this country?")
            page.mouse.move(0, 0)
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"{name}.png", full_page=True)
            few = Image.open(folder / f"{name}.png").convert("RGB").quantize(96, dither=Image.Dither.NONE)
            few.save(folder / f"{name}.png", optimize=True)
            for entry in session.entries():
                session.roll_back(entry.edit_id)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
