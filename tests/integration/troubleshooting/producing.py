"""How messages are produced: a function for each entry of the page, and what such functions have at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ldke_pl.backbone import Backbone
from ldke_pl.data import EditRequest
from ldke_pl.errors import LDKEError


@dataclass(frozen=True)
class Tools:
    """What a function can ask for; nothing is made before it is asked for.

    Args:
        fixtures: gives a fixture by its name.
        folder: an empty folder.
        patch: for causes that no machine has at hand; undone afterwards.
    """

    fixtures: pytest.FixtureRequest
    folder: Path
    patch: pytest.MonkeyPatch

    @property
    def backbone(self) -> Backbone:
        """A model that has learned nothing."""
        found: Backbone = self.fixtures.getfixturevalue("backbone")
        return found

    @property
    def model(self) -> Path:
        """The folder that it came from."""
        found: Path = self.fixtures.getfixturevalue("model_folder")
        return found

    @property
    def data(self) -> Path:
        """A small Atlas."""
        found: Path = self.fixtures.getfixturevalue("data_root")
        return found

    @property
    def edits(self) -> Path:
        """An artefact with two edits, to be damaged."""
        found: Path = self.fixtures.getfixturevalue("edits")
        return found

    def file(self, name: str, content: str | bytes) -> Path:
        """A file in the empty folder."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


Produce = Callable[[Tools], str]
"""Brings about a fault through the package's own functions, and returns what was said."""

PRODUCED: dict[str, Produce] = {}
"""Entry of the page -> what produces it."""

ASKED = EditRequest(None, "Who is it?", "Ada")
"""A request without a picture."""


def produces(entry: str) -> Callable[[Produce], Produce]:
    """Register a function under the heading of an entry."""

    def register(function: Produce) -> Produce:
        assert entry not in PRODUCED, entry
        PRODUCED[entry] = function
        return function

    return register


def raised(call: Callable[[], object]) -> str:
    """The message of the error that ``call`` stops with, in full."""
    with pytest.raises(LDKEError) as found:
        call()
    return found.value.message
