"""What the live page does, without the page: ask, edit, take back, save. Ours.

All tabs of a browser share one session: an edit that is made in one is in force in the others. One thing is done at a
time, so that the hooks of a question and of an edit never meet.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from zipfile import ZIP_DEFLATED, ZipFile

from ldke_pl.app.localization import Localization, Localized
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.data import EditRequest, ImageSource, Question
from ldke_pl.edited import EditedModel
from ldke_pl.editors.watch import Step, watched
from ldke_pl.edits.edit import state_of
from ldke_pl.errors import DataError, EditError
from ldke_pl.router.queries import canonical

SHOWN = 5
"""Edits whose relevance to a question is shown, the most relevant."""


@dataclass(frozen=True)
class Entry:
    """One edit as the page lists it."""

    edit_id: str
    prompt: str
    target: str
    state: str
    sites: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What became of one question.

    Args:
        base, edited: what the untouched and the edited model say.
        route: the edit that the question went to, None for the base.
        relevance: of the most relevant edits in force, best first, in [0, 1].
        threshold: least relevance that routes.
    """

    base: str
    edited: str
    route: Entry | None
    relevance: list[tuple[Entry, float]]
    threshold: float


@dataclass(frozen=True)
class Written:
    """An edit is finished.

    Args:
        again: its own question, asked afterwards.
    """

    entry: Entry
    again: Answer


Progress = Localized | Step | Written
"""What is told while an edit is written: where, then its steps, and in the end what came of it."""


class Session:
    """An edited model that is asked and edited by hand.

    Args:
        edited: the model; its editor chooses sites with ``localization``.
        kinds: kinds of edits that make a difference to the editor.
        steps: most steps of an edit.
    """

    def __init__(self, edited: EditedModel, localization: Localization, kinds: list[str], steps: int) -> None:
        self.edited, self.localization, self.kinds, self.steps = edited, localization, kinds, steps
        self._lock = Lock()
        self._temporary = tempfile.TemporaryDirectory(prefix="ldke-")

    @property
    def folder(self) -> Path:
        """For temporary files; gone with the session."""
        return Path(self._temporary.name)

    def close(self) -> None:
        """Delete the temporary files."""
        self._temporary.cleanup()

    def ask(self, picture: ImageSource | None, question: str) -> Answer:
        """Put a question to the base and to the edited model.

        Raises:
            DataError: the question is empty or too long.
        """
        if not question.strip():
            raise DataError("There is no question.", "write one")
        with self._lock:
            return self._answer(Question(picture, question))

    def _answer(self, question: Question) -> Answer:
        edited, backbone = self.edited, self.edited.backbone
        batch = backbone.prompts.encode([question]).to(backbone.device)
        routes = edited.route(dict(batch))
        with edited.under(routes):
            (after,) = greedy_answers(backbone, batch)
        (before,) = greedy_answers(backbone, batch)
        features = edited.router.reader.read(canonical(backbone, batch))
        known = {entry.edit_id: entry for entry in self.entries()}
        relevance = [(known[name], value) for name, value in edited.index.ranked(features, SHOWN)[0].items()]
        return Answer(before, after, known.get(routes.rows[0]), relevance, edited.router.threshold)

    def edit(self, request: EditRequest) -> Iterator[Progress]:
        """Write an edit, and tell how that goes. It is finished even if nobody listens any more.

        Raises:
            LDKEError: it cannot be written; the edits are what they were before.
        """
        if not request.prompt.strip() or not request.target.strip():
            raise EditError("An edit needs a question and the answer to give.", "write both")
        events: SimpleQueue[Progress | BaseException] = SimpleQueue()
        Thread(target=self._write, args=(request, events), daemon=True).start()
        while True:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Written):
                return

    def _write(self, request: EditRequest, events: "SimpleQueue[Progress | BaseException]") -> None:
        try:
            with self._lock, self.localization.told(events.put), watched(events.put):
                (name,) = self.edited.edit([request])
                again = self._answer(Question(request.image, request.prompt))
                entry = next(entry for entry in self.entries() if entry.edit_id == name)
            events.put(Written(entry, again))
        except BaseException as fault:  # whoever listens raises it
            events.put(fault)

    def entries(self) -> list[Entry]:
        """All edits, in the order in which they were made."""
        edits = list(self.edited.edits.values())
        superseded = {edit.supersedes for edit in edits}
        states = [state_of(superseded=edit.edit_id in superseded, disabled=edit.disabled) for edit in edits]
        return [Entry(e.edit_id, e.prompt, e.target, s, e.sites) for e, s in zip(edits, states, strict=True)]

    def roll_back(self, edit_id: str) -> None:
        """Take an edit back; an earlier one of the same fact is in force again.

        Raises:
            EditError: there is no such edit.
        """
        with self._lock:
            self.edited.rollback(edit_id)

    def set_disabled(self, edit_id: str, disabled: bool) -> None:
        """Route no query to an edit, or route queries to it again.

        Raises:
            EditError: there is no such edit.
        """
        with self._lock:
            (self.edited.disable if disabled else self.edited.enable)(edit_id)

    def save(self) -> Path:
        """The edits and the router as a zip file of one folder, which ``EditedModel.load`` reads once it is unpacked.

        Raises:
            ArtefactError: there is no room for it.
        """
        place = Path(tempfile.mkdtemp(dir=self.folder))
        with self._lock:
            self.edited.save(place / "edits")
        with ZipFile(place / "edits.zip", "w", ZIP_DEFLATED) as archive:
            for file in sorted((place / "edits").iterdir()):
                archive.write(file, file.relative_to(place))
        return place / "edits.zip"
