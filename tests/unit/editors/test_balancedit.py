"""BalancEdit: radii that edits set themselves, between a rephrasing and a black picture."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.balancedit import BalancEdit, radius
from ldke_pl.editors.codebook import ActivationReader
from ldke_pl.editors.finetune import FineTune
from ldke_pl.router import best

SITE = "decoder.4"


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    read = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=balancedit"]).editor["balancedit"]
    return replace(read, steps=1, stop_loss=0.0, balance=0.97)


@pytest.fixture
def requests(pictures: list[Image.Image]) -> list[EditRequest]:
    return [
        EditRequest(pictures[0], "Which country is this?", "Balumo"),
        EditRequest(None, "Who leads Balumo?", "Ada Lovelace"),
    ]


def made(backbone: Backbone, config: EditorConfig) -> BalancEdit:
    return BalancEdit(backbone, config, lambda requests: [(SITE,)] * len(requests))


def test_the_radius_lies_between_rephrasing_and_negative() -> None:
    states = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 15.0]])
    assert [float(radius(states, a)) for a in (1.0, 0.97, 0.0)] == pytest.approx([5.0, 0.97 * 5 + 0.03 * 15, 15.0])


def test_an_edits_radius_is_that_of_its_prefixed_prompt_and_a_black_picture(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    shown, told = made(backbone, replace(config, steps=0)).edit(requests)
    reader, picture = ActivationReader(backbone, SITE, mean=True), requests[0].image
    prefixed = "Please answer this question. "
    examples = {
        shown.edit_id: (Question(picture, prefixed + shown.prompt), Question(Image.new("RGB", (64, 64)), shown.prompt)),
        told.edit_id: (Question(None, prefixed + told.prompt), Question(None, "Describe what you see.")),
    }
    for edit, request in zip((shown, told), requests, strict=True):
        own, *others = (
            reader.questions([q])["state"][0] for q in (Question(request.image, edit.prompt), *examples[edit.edit_id])
        )
        near, far = ((own - other).norm() for other in others)
        torch.testing.assert_close(edit.key["state"], own, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(edit.key["radius"], 0.97 * near + 0.03 * far, atol=1e-4, rtol=1e-4)


def test_a_query_goes_to_the_nearest_key_within_its_radius(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    editor = made(backbone, replace(config, steps=0))
    keys = [edit.key for edit in editor.edit(requests)]
    asked = [Question(requests[0].image, requests[0].prompt), Question(None, requests[1].prompt)]
    asked.append(Question(None, "A question about other things altogether, and quite a long one?"))
    queries = editor.gate.reader.questions(asked)
    assert best(editor.gate.relevance(queries, keys), editor.gate.threshold).tolist() == [0, 1, -1]
    closed = [key | {"radius": key["radius"] * 1e-9} for key in keys]
    moved = {"state": queries["state"] + 1e-3}
    assert best(editor.gate.relevance(moved, closed), editor.gate.threshold).tolist() == [-1, -1, -1]


def test_the_mean_leaves_padding_out(backbone: Backbone, requests: list[EditRequest]) -> None:
    reader = ActivationReader(backbone, SITE, mean=True)
    asked = [Question(None, "Why?"), Question(requests[0].image, requests[0].prompt)]
    torch.testing.assert_close(
        reader.questions(asked)["state"],
        torch.cat([reader.questions([q])["state"] for q in asked]),
        atol=1e-4,
        rtol=1e-4,
    )


def test_the_edit_is_fine_tunings_and_batching_changes_nothing(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    together = made(backbone, config).edit(requests)
    apart = made(backbone, replace(config, batch_size=1)).edit(requests)
    tuned = FineTune(backbone, config, lambda r: [(SITE,)] * len(r)).edit(requests)
    for one, other, plain in zip(together, apart, tuned, strict=True):
        ((name, delta),) = one.deltas.items()
        assert len(delta.factors) == 1 and delta.factors[0].count_nonzero() > 0
        torch.testing.assert_close(delta.factors, other.deltas[name].factors, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(delta.factors, plain.deltas[name].factors)
        torch.testing.assert_close(one.key, other.key, atol=1e-4, rtol=1e-4)
