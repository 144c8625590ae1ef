"""The entries of the troubleshooting page, and what they match."""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "troubleshooting.md"
FILLED_IN = re.compile(r"<[a-z][^<>]*>")


@dataclass(frozen=True)
class Entry:
    """One message of the page.

    Args:
        text: its heading, with ``<...>`` for what is filled in.
        body: what it means, and what to do.
    """

    text: str
    body: str

    def matches(self, message: str) -> bool:
        """Whether a message, or a line of it, is of this kind."""
        pattern = r"[\s\S]*?".join(_spaced(part) for part in FILLED_IN.split(self.text))
        end = "" if self.text.endswith(">") else "$"
        return re.search(f"^[ -]*{pattern}{end}", message, re.MULTILINE) is not None

    def comes_from(self, skeleton: str, *, whole: bool) -> bool:
        """Whether the code says this: all of it, or its end after a colon."""
        pattern = r"[\s\S]*".join(re.escape(part) for part in skeleton.split("…"))
        before, after = ("", "") if whole else (r"(.*: (\w+Error )?)?['\"]?", r"['\"]?\.?( \(<path>\))?")
        return re.fullmatch(f"{before}{pattern}{after}", self.text) is not None


def entries() -> list[Entry]:
    """Every entry of the page, in order."""
    parts = re.split(r"^### `(.*)`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [Entry(text, body.split("\n## ")[0]) for text, body in zip(parts[::2], parts[1::2], strict=True)]


def _spaced(text: str) -> str:
    return re.escape(text).replace(r"\ ", r"\s+")
