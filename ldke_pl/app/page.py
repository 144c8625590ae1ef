"""How the live page looks: Gradio's components, and what each of them does."""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ldke_pl.app import markup
from ldke_pl.app.examples import Asked, Examples, Told
from ldke_pl.app.handlers import Handlers
from ldke_pl.app.session import Session
from ldke_pl.router import RadiusRouter

STYLE = Path(__file__).with_name("page.css")

KINDS = {"entity": "what the picture shows", "attribute": "a fact about what it shows", "": "not told"}
"""How kinds of edits are named; others go by their own names."""

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
"""Fonts that readers have: nothing is fetched."""


def theme() -> Any:
    """Gradio's plain theme in readable colours."""
    plain = gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=("ui-monospace", "Consolas", "monospace")
    )
    return plain.set(
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700", block_label_text_color_dark="*neutral_200",
        input_placeholder_color="*neutral_500", input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600", button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white", button_primary_text_color_dark="white",
    )  # fmt: skip


def _html(name: str, first: str = "") -> Any:
    """A place for markup of our own, with none of Gradio's styles."""
    return gr.HTML(first, elem_id=name, elem_classes="ldke", apply_default_css=False)


def build(session: Session, examples: Examples) -> Any:
    """The page: a picture, a question about it, an edit of it, and the edits so far."""
    handlers = Handlers(session)
    with gr.Blocks(title="LDKE-PL", analytics_enabled=False) as page:
        gr.Markdown(_head(session))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                picture = _picture(examples)
            with gr.Column(scale=3, min_width=300):
                _ask(handlers, examples, picture)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                fields = _fields(session, examples)
            with gr.Column(scale=3, min_width=300):
                shown = [_html("written", markup.NOTHING_WRITTEN), _html("sites"), _html("steps")]
        listed = _edits(handlers)
        button, *inputs = fields
        button.click(handlers.edit, [picture, *inputs], [*shown, *listed], show_progress="minimal")
        page.load(handlers.listed, None, listed, show_progress="hidden")
    return page


def _head(session: Session) -> str:
    backbone, router = session.edited.backbone, session.edited.router
    fallback = " This model has no trained router: only an edit's own question is recognised."
    return (
        f"# LDKE-PL: ask and edit {backbone.name}\n"
        "Ask the base and the edited model side by side, correct a fact, see what follows from it and what stays, and "
        "take it back. The base weights never change. All tabs of this page share the same edits."
        f"{fallback if isinstance(router, RadiusRouter) else ''}"
    )


def _picture(examples: Examples) -> Any:
    """The picture that questions and edits are about, and those to pick from."""
    gr.Markdown("## Picture\nDrop, paste or upload one. Without a picture, questions are text alone.")
    first = str(examples.pictures[0][0]) if examples.pictures else None
    picture = gr.Image(
        first, type="pil", sources=["upload", "clipboard"], height=220, buttons=[], elem_id="picture",
        label="Picture", show_label=False, alt_text="The picture that is asked about",
    )  # fmt: skip
    gr.Button("No picture", size="sm", elem_id="no-picture").click(lambda: None, None, picture, show_progress="hidden")
    if examples.pictures:
        files = [str(file) for file, _ in examples.pictures]
        gr.Markdown("Or pick one; below it is the name of what it shows.")
        gallery = gr.Gallery(
            [(file, caption) for file, (_, caption) in zip(files, examples.pictures, strict=True)],
            label="Pictures to pick from", show_label=False, columns=6, height="auto", allow_preview=False, buttons=[],
            interactive=False, elem_id="gallery",
        )  # fmt: skip

        def pick(event: gr.SelectData) -> str:
            return files[int(event.index)]

        gallery.select(pick, None, picture, show_progress="hidden")
    return picture


def _ask(handlers: Handlers, examples: Examples, picture: Any) -> None:
    gr.Markdown("## Ask")
    first = examples.questions[0].prompt if examples.questions else ""
    question = gr.Textbox(first, label="Question (Enter asks)", max_lines=1, elem_id="question")
    button = gr.Button("Ask", variant="primary", elem_id="ask")
    with gr.Row(elem_classes="tries"):
        tries = [(gr.Button(_named(e), size="sm", elem_classes="try"), e) for e in examples.questions]
    answer = _html("answer")
    for asks in (question.submit, button.click):
        asks(handlers.ask, [picture, question], answer, show_progress="minimal")
    for small, example in tries:
        fields = [question] if example.pictured else [question, picture]
        filled = small.click(partial(_filled, example), None, fields, show_progress="hidden")
        filled.then(handlers.ask, [picture, question], answer, show_progress="minimal")


def _named(example: Asked) -> str:
    return example.prompt if example.pictured else f"{example.prompt} (no picture)"


def _filled(example: Asked) -> Any:
    """The question to try; one without a picture takes the picture away."""
    return example.prompt if example.pictured else (example.prompt, None)


def _fields(session: Session, examples: Examples) -> tuple[Any, Any, Any, Any]:
    """What an edit is told by: the button that writes it, prompt, target and kind."""
    first = examples.edits[0] if examples.edits else Told("", "", "", "")
    gr.Markdown("## Write an edit\nIt is about the picture above, or about text alone where there is none.")
    prompt = gr.Textbox(first.prompt, label="Question whose answer is wrong", max_lines=1, elem_id="prompt")
    target = gr.Textbox(first.target, label="Answer to give from now on", max_lines=1, elem_id="target")
    choices = [(KINDS.get(kind, kind), kind) for kind in (*reversed(session.kinds), "")]
    kind = gr.Radio(choices, value=first.kind, label="What the answer says", elem_id="kind")
    button = gr.Button("Write the edit", variant="primary", elem_id="write")
    if examples.edits:
        with gr.Row(elem_classes="tries"):
            for example in examples.edits:
                told = (example.prompt, example.target, example.kind)
                small = gr.Button(example.name, size="sm", elem_classes="try")
                small.click(partial(tuple, told), None, [prompt, target, kind], show_progress="hidden")
    return button, prompt, target, kind


def _edits(handlers: Handlers) -> list[Any]:
    """The edits so far, what can be done with one, and the download of all; returns the table and the choice."""
    gr.Markdown("## Edits")
    table = _html("edits")
    chosen = gr.Radio([], label="Edit to change", visible=False, elem_id="chosen")
    listed = [table, chosen]
    with gr.Row():
        for name, act in (
            ("Roll back", handlers.roll_back),
            ("Disable", handlers.disable),
            ("Enable", handlers.enable),
        ):
            button = gr.Button(name, min_width=100, elem_id=name.lower().replace(" ", "-"))
            button.click(act, chosen, listed, show_progress="minimal")
        save = gr.Button("Make a zip file", min_width=100, elem_id="save")
    file = gr.File(label="Edits and router, as EditedModel.save writes them", visible=False, elem_id="zip")
    save.click(handlers.save, None, file)
    return listed
