"""What every editing method is: requests in, edits out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ldke_pl.backbone import Backbone
from ldke_pl.config import EditorConfig, named
from ldke_pl.data import EditCase, EditRequest
from ldke_pl.edits import Edit
from ldke_pl.errors import ConfigError
from ldke_pl.router import Gate

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
    """A method whose edits change when they are in force together; those of other methods stay as they are."""

    def edit_together(self, requests: Sequence[EditRequest], edits: Sequence[Edit], *, seed: int = 0) -> list[Edit]:
        """What answers each request when all are in force; one shared change has one ``deltas`` object.

        Args:
            edits: what :meth:`edit` made of each request alone.

        Raises:
            EditError: a request cannot be written.
        """


@runtime_checkable
class SequentialEditor(Editor, Protocol):
    """A method for which it matters that edits are made one after another, on top of what was written before."""

    def edit_in_sequence(
        self, requests: Sequence[EditRequest], sizes: Sequence[int], *, seed: int = 0
    ) -> Iterator[list[Edit]]:
        """What answers each request after as many edits, for each of ``sizes``, which rise.

        Raises:
            EditError: a request cannot be written.
        """


@runtime_checkable
class GatedEditor(Editor, Protocol):
    """A method that decides by itself which queries meet its edits, by the keys that it gives them."""

    @property
    def gate(self) -> Gate:
        """What compares queries with the edits' keys."""


@runtime_checkable
class TrainedEditor(Editor, Protocol):
    """A method with parameters that are trained on other edits, by ``train.py editor=NAME``."""

    @property
    def net(self) -> nn.Module:
        """Everything that is trained, and stored."""

    def training_loss(self, cases: Sequence[EditCase], generator: torch.Generator) -> Tensor:
        """The loss of a batch of training cases, whose probes say what is right; draws from ``generator``."""


@runtime_checkable
class DemonstratedEditor(Editor, Protocol):
    """A method that shows the model other edits, which ``train.py editor=NAME`` collects."""

    def collect(self, cases: Sequence[EditCase], folder: Path) -> int:
        """Write what may be shown of training cases to a folder, and say how many demonstrations that is."""

    def show(self, folder: Path | None) -> None:
        """From now on, show what such a folder has, if the settings want any.

        Raises:
            ArtefactError: there is none, or it cannot be read.
        """


def build_editor(backbone: Backbone, config: EditorConfig, sites: Sites) -> Editor:
    """Make the editor that ``config.cls`` names by its dotted path.

    Raises:
        ConfigError: there is no such class.
    """
    try:
        made: Editor = named(config.cls)(backbone, config, sites)
    except (ImportError, AttributeError, ValueError) as fault:
        raise ConfigError(
            f"There is no editor class {config.cls!r} ({fault}).",
            "give a dotted path such as ldke_pl.editors.ldke.LDKE",
        ) from fault
    return made
