"""What every editing method is: requests in, edits out."""

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest
from ldke_pl.edits import Edit
from ldke_pl.errors import ConfigError

Sites = Callable[[Sequence[EditRequest]], list[tuple[str, ...]]]
"""Chooses the sites of every request: a localizer, or a fixed choice."""


class Editor(Protocol):
    """An editing method.

    Implementations are built with ``(backbone, config, sites)``.
    """

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[Edit]:
        """Solve each request by itself; how requests are batched changes speed and nothing else.

        Raises:
            EditError: a request cannot be written.
        """


@runtime_checkable
class JointEditor(Editor, Protocol):
    """A method without router: applied together, its edits are one change of the model that every input meets."""

    def edit_together(self, requests: Sequence[EditRequest], *, seed: int = 0) -> Edit:
        """One edit that writes all requests.

        Raises:
            EditError: a request cannot be written.
        """

    def edit_in_sequence(self, requests: Sequence[EditRequest], sizes: Sequence[int], *, seed: int = 0) -> list[Edit]:
        """Write one request after another on top of what was written before.

        Args:
            sizes: numbers of requests, rising.

        Returns:
            The change of the model after as many requests, for each of ``sizes``.

        Raises:
            EditError: a request cannot be written.
        """


def build_editor(backbone: Backbone, config: EditorConfig, sites: Sites) -> Editor:
    """Make the editor that ``config.cls`` names by its dotted path.

    Raises:
        ConfigError: there is no such class.
    """
    module, _, name = config.cls.rpartition(".")
    try:
        made: Editor = getattr(importlib.import_module(module), name)(backbone, config, sites)
    except (ImportError, AttributeError, ValueError) as fault:
        raise ConfigError(
            f"There is no editor class {config.cls!r} ({fault}).",
            "give a dotted path such as ldke_pl.editors.ldke.LDKE",
        ) from fault
    return made
