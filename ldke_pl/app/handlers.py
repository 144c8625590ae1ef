"""From what stands in the page's fields to what is shown: between the session and Gradio's components."""

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from ldke_pl.app import markup
from ldke_pl.app.localization import Localized
from ldke_pl.app.session import Session, Written
from ldke_pl.data import EditRequest
from ldke_pl.editors.watch import Step
from ldke_pl.errors import EditError, LDKEError

Updates = tuple[Any, ...]
"""New values of components, or what Gradio calls updates of them."""


class Handlers:
    """What happens when something on the page is used. An error of ours is shown, and the page goes on."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def ask(self, picture: Image.Image | None, question: str) -> str:
        """The answers, the route and its scores."""
        try:
            return markup.answer(self.session.ask(picture, question))
        except LDKEError as fault:
            return markup.fault(fault)

    def edit(self, picture: Image.Image | None, prompt: str, target: str, kind: str) -> Iterator[Updates]:
        """Where the edit is written, how its objective falls, and what came of it; then the list of edits."""
        sites, steps, note, name = "", list[Step](), markup.BEGUN, None
        yield note, sites, "", *self.listed()
        try:
            for event in self.session.edit(EditRequest(picture, prompt, target, kind)):
                if isinstance(event, Localized):
                    sites = markup.localized(event)
                elif isinstance(event, Step):
                    steps.append(event)
                elif isinstance(event, Written):
                    note, name = markup.written(event), event.entry.edit_id
                yield note, sites, markup.steps(steps, self.session.steps), *self.listed(name)
        except LDKEError as fault:
            yield markup.fault(fault), sites, markup.steps(steps, self.session.steps), *self.listed()

    def roll_back(self, edit_id: str | None) -> Updates:
        """Take an edit back."""
        return self._changed(edit_id, self.session.roll_back)

    def disable(self, edit_id: str | None) -> Updates:
        """Route no question to an edit."""
        return self._changed(edit_id, lambda name: self.session.set_disabled(name, True))

    def enable(self, edit_id: str | None) -> Updates:
        """Route questions to an edit again."""
        return self._changed(edit_id, lambda name: self.session.set_disabled(name, False))

    def _changed(self, edit_id: str | None, change: Callable[[str], None]) -> Updates:
        try:
            if not edit_id:
                raise EditError("No edit is chosen.", "write one, or choose one from the list")
            change(edit_id)
        except LDKEError as fault:
            _warn(fault)
        return self.listed(edit_id)

    def listed(self, chosen: str | None = None) -> Updates:
        """The table of edits, and the choice of one: ``chosen``, or the last."""
        entries = self.session.entries()
        names = [(f"{entry.prompt} → {entry.target} ({entry.state})", entry.edit_id) for entry in entries]
        known = [entry.edit_id for entry in entries]
        value = chosen if chosen in known else known[-1] if known else None
        return markup.edits(entries), gr.update(choices=names, value=value, visible=bool(entries))

    def save(self) -> Any:
        """The link to the zip file."""
        try:
            return gr.update(value=str(self.session.save()), visible=True)
        except LDKEError as fault:
            _warn(fault)
            return gr.update(visible=False)


def _warn(fault: LDKEError) -> None:
    gr.Warning(escape(str(fault)))  # a message is HTML to Gradio
