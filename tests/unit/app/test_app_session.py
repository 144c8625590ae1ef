"""What the live page does, on a tiny model: ask, edit and watch, take back, save; one thing at a time."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from zipfile import ZipFile

import pytest
import torch
from PIL import Image

from ldke_pl.app import Session
from ldke_pl.app.localization import Localization, Localized
from ldke_pl.app.session import SHOWN, Answer, Progress, Written
from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.config import CONF_DIR, EditConfig, LocalizerConfig, load_config
from ldke_pl.data import EditRequest
from ldke_pl.edited import EditedModel
from ldke_pl.editors.ldke import LDKE
from ldke_pl.editors.watch import Step, watcher
from ldke_pl.edits.artefact import load_artefact
from ldke_pl.errors import DataError, EditError, LDKEError
from ldke_pl.localize import Calibration, build_localizer
from ldke_pl.router import FeatureReader, RadiusRouter

STEPS = 40
SITE = "decoder.6"


@pytest.fixture
def session(backbone: Backbone) -> Iterator[Session]:
    """Entity edits go to one site by their kind, others where the scores say."""
    config = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=ldke"]).editor["ldke"]
    config = replace(config, steps=STEPS, views=1, lr=0.03, propagation_weight=0.0)
    calibration = Calibration(best_fixed={"entity": SITE})
    localizer = build_localizer(backbone, LocalizerConfig(name="best_fixed_per_kind"), calibration)
    localization = Localization(backbone, localizer, calibration)
    edited = EditedModel(backbone, RadiusRouter(FeatureReader(backbone)), LDKE(backbone, config, localization))
    made = Session(edited, localization, ["entity"], STEPS)
    yield made
    made.close()


@pytest.fixture
def request_(pictures: list[Image.Image]) -> EditRequest:
    return EditRequest(pictures[0], "Which country is this?", "Balumo", "entity")


def write(session: Session, request: EditRequest) -> Written:
    *_, last = session.edit(request)
    assert isinstance(last, Written)
    return last


def test_without_edits_both_models_say_the_same(session: Session, pictures: list[Image.Image]) -> None:
    for picture in (pictures[0], None):
        found = session.ask(picture, "Which country is this?")
        assert (found.base, found.route, found.relevance) == (found.edited, None, [])


def test_an_edit_is_told_of_as_it_is_made(session: Session, request_: EditRequest) -> None:
    where, *steps, last = list(session.edit(request_))
    assert isinstance(where, Localized) and isinstance(last, Written)
    assert (where.chosen, where.kind, list(where.scores)) == ((SITE,), "entity", list(session.edited.backbone.sites))
    assert all(isinstance(step, Step) and step.edit_id == last.entry.edit_id for step in steps)
    losses = [step.loss for step in steps if isinstance(step, Step)]
    assert losses[0] > losses[-1] == session.edited.edits[last.entry.edit_id].loss
    assert last.again.edited == "Balumo" != last.again.base
    assert last.again.route == last.entry
    assert watcher() is None and session.localization._tell is None


def test_an_edit_is_the_one_that_is_made_without_the_page(session: Session, request_: EditRequest) -> None:
    name = write(session, request_).entry.edit_id
    watched = session.edited.edits[name].deltas
    session.roll_back(name)
    (again,) = session.edited.edit([request_])
    assert again == name
    for layer, delta in session.edited.edits[name].deltas.items():
        assert all(torch.equal(a, b) for a, b in zip(delta.factors, watched[layer].factors, strict=True))


def test_scores_choose_where_the_kind_is_not_told(session: Session, request_: EditRequest) -> None:
    where, *_ = list(session.edit(replace(request_, group="", image=None)))
    assert isinstance(where, Localized) and where.kind == "" and where.scores[CONNECTOR] == -torch.inf
    assert where.chosen == (max(where.scores, key=lambda site: where.scores[site]),)


def test_its_question_goes_to_the_edit_and_another_to_the_base(
    session: Session, request_: EditRequest, pictures: list[Image.Image]
) -> None:
    entry = write(session, request_).entry
    found = session.ask(pictures[0], request_.prompt)
    assert (found.edited, found.route, found.threshold) == ("Balumo", entry, session.edited.router.threshold)
    assert found.relevance[0][1] >= found.threshold
    other = session.ask(pictures[3], "How many people live there, all in all?")
    assert other.route is None and other.edited == other.base
    assert [e for e, _ in other.relevance] == [entry] and other.relevance[0][1] < other.threshold


def test_the_most_relevant_edits_are_shown(session: Session, pictures: list[Image.Image]) -> None:
    session.edited.editor = LDKE(
        session.edited.backbone,
        replace(session.edited.editor.config, steps=1),
        lambda asked: [(SITE,)] * len(asked),
    )
    for picture in pictures:
        session.edited.edit([EditRequest(picture, "Which country is this?", "x")])
    found = session.ask(pictures[2], "Which country is this?")
    values = [value for _, value in found.relevance]
    assert len(values) == SHOWN < len(pictures) and values == sorted(values, reverse=True)
    assert found.relevance[0][0] == session.entries()[2] == found.route


def test_edits_are_listed_switched_off_and_taken_back(session: Session, request_: EditRequest) -> None:
    def ask() -> Answer:
        return session.ask(request_.image, request_.prompt)

    before = ask()
    first = write(session, request_).entry
    second = write(session, replace(request_, target="Zz")).entry
    states = {entry.target: entry.state for entry in session.entries()}
    assert states == {"Balumo": "superseded", "Zz": "in force"}
    session.set_disabled(second.edit_id, True)
    assert [entry.state for entry in session.entries()] == ["superseded", "disabled"]
    assert ask().route is None
    session.set_disabled(second.edit_id, False)
    assert ask().route == second
    session.roll_back(second.edit_id)
    assert [(e.edit_id, e.state, e.sites) for e in session.entries()] == [(first.edit_id, "in force", (SITE,))]
    assert ask().edited == "Balumo"
    session.roll_back(first.edit_id)
    assert (session.entries(), ask()) == ([], before)


def test_saved_edits_are_an_artefact_in_a_zip_file(session: Session, request_: EditRequest, tmp_path: Path) -> None:
    entry = write(session, request_).entry
    saved = session.save()
    with ZipFile(saved) as archive:
        assert sorted(archive.namelist()) == [
            f"edits/{name}" for name in ("edit_config.json", "edits.safetensors", "router.safetensors")
        ]
        archive.extractall(tmp_path)
    artefact = load_artefact(tmp_path / "edits", session.edited.backbone)
    assert [edit.edit_id for edit in artefact.edits] == [entry.edit_id]
    assert session.save() != saved  # an earlier one may still be on its way
    session.close()
    assert not saved.exists()


BAD = [
    (lambda session, name: session.ask(None, " "), DataError),
    (lambda session, name: list(session.edit(EditRequest(None, "Who?", " "))), EditError),
    (lambda session, name: list(session.edit(EditRequest(None, "Who? <image>", "x"))), DataError),
    (lambda session, name: session.roll_back("none"), EditError),
    (lambda session, name: session.set_disabled("none", True), EditError),
]


@pytest.mark.parametrize(("act", "error"), BAD)
def test_a_fault_leaves_everything_as_it_was(
    session: Session, request_: EditRequest, act: partial[object], error: type[LDKEError]
) -> None:
    name = write(session, request_).entry.edit_id
    before = session.entries(), session.ask(None, "Who?")
    with pytest.raises(error):
        act(session, name)
    assert (session.entries(), session.ask(None, "Who?")) == before


def test_an_edit_is_finished_without_a_listener(session: Session, request_: EditRequest) -> None:
    events: Iterator[Progress] = session.edit(request_)
    next(events)
    del events
    deadline = time.monotonic() + 30
    while not session.entries() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert session.ask(request_.image, request_.prompt).edited == "Balumo"


def test_a_question_waits_for_the_edit_that_is_being_written(
    session: Session, request_: EditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, write_it, found = Event(), Event(), session.edited.edit, list[Answer]()

    def held(*args: object, **kwargs: object) -> list[str]:
        begun.set()
        assert go.wait(30)
        return write_it(*args, **kwargs)

    monkeypatch.setattr(session.edited, "edit", held)
    writing = Thread(target=write, args=(session, request_))
    asking = Thread(target=lambda: found.append(session.ask(request_.image, request_.prompt)))
    writing.start()
    assert begun.wait(30)
    asking.start()
    asking.join(0.5)
    assert asking.is_alive() and not found
    go.set()
    writing.join(60)
    asking.join(60)
    assert found[0].edited == "Balumo"
