"""Watching edits: every step is told, to who watches and to nobody else, and the edits are what they are unwatched."""

from dataclasses import replace
from threading import Thread

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditRequest
from ldke_pl.editors.ldke import LDKE
from ldke_pl.editors.shared import optimise_shared
from ldke_pl.editors.watch import Step, watched, watcher
from ldke_pl.edits import Edit
from ldke_pl.errors import EditError

STEPS = 3


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    read = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=ldke"]).editor["ldke"]
    return replace(read, steps=STEPS, views=2, stop_loss=0.0, propagation_weight=0.0)


@pytest.fixture
def requests(pictures: list[Image.Image]) -> list[EditRequest]:
    return [EditRequest(pictures[0], "Who?", "Ada"), EditRequest(pictures[1], "Where?", "Zz")]


def made(backbone: Backbone, config: EditorConfig, requests: list[EditRequest]) -> list[Edit]:
    return LDKE(backbone, config, lambda asked: [("decoder.6",)] * len(asked)).edit(requests)


def test_every_step_of_every_edit_is_told_and_nothing_else_changes(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    told: list[Step] = []
    with watched(told.append):
        edits = made(backbone, config, requests)
    for edit, alone in zip(edits, made(backbone, config, requests), strict=True):
        own = [step for step in told if step.edit_id == edit.edit_id]
        assert [step.steps for step in own] == list(range(STEPS))
        assert own[0].loss > own[-1].loss == edit.loss == alone.loss
        pairs = [(d, alone.deltas[name]) for name, d in edit.deltas.items()]
        assert all(torch.equal(a, b) for d, e in pairs for a, b in zip(d.factors, e.factors, strict=True))
    assert len(told) == 2 * STEPS
    assert watcher() is None


def test_an_edit_that_is_done_is_told_of_no_more(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    told: list[Step] = []
    with watched(told.append):
        made(backbone, replace(config, stop_loss=1e6, views=1), requests)
    assert [step.steps for step in told] == [0, 0]


def test_edits_that_are_one_update_are_watched_too(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    told: list[Step] = []
    with watched(told.append):
        optimise_shared(backbone, requests, ("decoder.6",), config, seed=0, full_rank=False)
    assert len(told) == 2 * STEPS


def test_another_thread_is_not_watched(backbone: Backbone, config: EditorConfig, requests: list[EditRequest]) -> None:
    told: list[Step] = []
    with watched(told.append):
        thread = Thread(target=made, args=(backbone, config, requests[:1]))
        thread.start()
        thread.join()
    assert told == []


def test_who_watched_before_watches_again_after_a_fault(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    def stop(step: Step) -> None:
        raise EditError("enough")

    outer: list[Step] = []
    with watched(outer.append):
        with pytest.raises(EditError, match="enough"), watched(stop):
            made(backbone, config, requests)
        assert outer == []
        made(backbone, config, requests[:1])
    assert len(outer) == STEPS
