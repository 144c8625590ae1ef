"""LiveEdit: experts that start at nothing, whatever shares their batch; a gate that is hard on pictures; training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, Question
from ldke_pl.editors import GatedEditor, TrainedEditor
from ldke_pl.editors.liveedit import PLACES, LiveEdit, _places
from ldke_pl.editors.store import load_trained, save_trained
from ldke_pl.edits import Edit

THREADS = 1


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    return load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=liveedit"]).editor["liveedit"]


@pytest.fixture
def requests(pictures: list[Image.Image]) -> list[EditRequest]:
    """With and without picture, and of unlike lengths."""
    shown = EditRequest(pictures[0], "Which country is this?", "Ada Lovelace")
    return [shown, EditRequest(None, "Who?", "x"), EditRequest(pictures[1], "What is it that you see?", "grey or blue")]


@pytest.fixture
def cases(requests: list[EditRequest], pictures: list[Image.Image]) -> list[EditCase]:
    """Each request with its own question and one that must not change."""
    told = [Probe(ProbeKind.RELIABILITY, r.image, r.prompt, r.target) for r in requests]
    other = Probe(ProbeKind.IMAGE_LOCALITY, pictures[2], "Where was this?", "blue")
    return [EditCase(str(i), r, (p, other)) for i, (r, p) in enumerate(zip(requests, told, strict=True))]


def editor_of(backbone: Backbone, config: EditorConfig) -> LiveEdit:
    return LiveEdit(backbone, config, lambda requests: [()] * len(requests))


def stirred(editor: LiveEdit) -> LiveEdit:
    """An editor whose net is no longer where it starts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in editor.net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return editor


def assert_same(one: Edit, other: Edit) -> None:
    (mine,), (others,) = one.deltas.values(), other.deltas.values()
    for a, b in zip(mine.factors, others.factors, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    for name in one.key:
        torch.testing.assert_close(one.key[name], other.key[name], atol=1e-4, rtol=1e-4)


def test_an_untrained_expert_has_the_rank_and_layer_of_the_paper_and_changes_nothing(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    editor = editor_of(backbone, config)
    assert isinstance(editor, TrainedEditor) and isinstance(editor, GatedEditor)
    assert sum(p.numel() * p.element_size() for p in editor.net.parameters()) < 1e6
    for edit in editor.edit(requests):
        assert edit.sites == ("decoder.5",) and len(backbone.layers) == 8
        ((name, delta),) = edit.deltas.items()
        (down, up), weight = delta.factors, backbone.model.get_submodule(name).get_parameter("weight")
        assert down.shape == (4, weight.shape[1]) and up.shape == (weight.shape[0], 4)
        assert not up.any() and down.any()


def test_an_edit_does_not_depend_on_what_shares_its_batch(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    with torch.inference_mode():
        together = stirred(editor_of(backbone, config)).edit(requests)
    apart = stirred(editor_of(backbone, replace(config, batch_size=1))).edit(requests)
    for one, other in zip(together, apart, strict=True):
        assert_same(one, other)
    (first,), (second,) = (e.deltas.values() for e in together[::2])
    assert (first.factors[1] - second.factors[1]).abs().max() > 1e-3


def test_the_target_is_in_the_expert(backbone: Backbone, config: EditorConfig, requests: list[EditRequest]) -> None:
    one, other = stirred(editor_of(backbone, config)).edit([requests[0], replace(requests[0], target="Zz")])
    (first,), (second,) = one.deltas.values(), other.deltas.values()
    assert (first.factors[1] - second.factors[1]).abs().max() > 1e-3
    assert all(torch.allclose(one.key[name], other.key[name], atol=1e-5) for name in one.key)


def test_places_tell_picture_question_and_target_apart() -> None:
    picture = torch.tensor([[True, True, False, False, False, False]])
    labels = torch.tensor([[-100, -100, -100, 7, 8, -100]])
    assert _places(picture, labels).tolist() == [[0, 0, 1, 2, 3, 1]]
    assert _places(torch.zeros(1, 40, dtype=torch.bool), torch.ones(1, 40, dtype=torch.long)).max() == PLACES - 1


def test_a_query_with_another_kind_of_picture_never_passes(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest], pictures: list[Image.Image]
) -> None:
    gate = editor_of(backbone, config).gate
    keys = gate.keys(requests)
    asked = gate.reader.questions([Question(r.image, r.prompt) for r in requests])
    relevance = gate.relevance(asked, keys)
    assert relevance.shape == (3, 3)
    assert relevance.diagonal().min() > gate.threshold  # a question is more like itself than like any reference
    assert relevance[1, [0, 2]].tolist() == relevance[[0, 2], 1].tolist() == [0, 0]


def test_the_visual_gate_is_hard(backbone: Backbone, config: EditorConfig, requests: list[EditRequest]) -> None:
    editor = editor_of(backbone, config)
    keys, queries = editor.gate.keys(requests[:1]), editor.gate.reader.questions([Question(*_parts(requests[0]))])
    own = editor.routing(queries)["visual"][0]
    weights = []
    for reference in (-own, own + 0.1 * torch.randn_like(own), own):
        with torch.no_grad():
            editor.routing.references[0] = reference
        weights.append(editor.gate.relevance(queries, keys).item())
    with torch.no_grad():
        editor.routing.references[0] = own * 2
        keys[0]["visual"] = torch.nn.functional.normalize(own + 0.5 * torch.randn_like(own), dim=0)
    assert weights[0] == weights[1] > 0.5  # how much more alike than the reference makes no difference
    assert editor.gate.relevance(queries, keys).item() == 0


def _parts(request: EditRequest) -> tuple[Image.Image, str]:
    assert isinstance(request.image, Image.Image)
    return request.image, request.prompt


def test_training_lowers_the_loss_and_reaches_every_parameter(
    backbone: Backbone, config: EditorConfig, cases: list[EditCase]
) -> None:
    editor = editor_of(backbone, config)
    optimiser = torch.optim.Adam(editor.net.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = editor.training_loss(cases, torch.Generator().manual_seed(0))
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert losses[-1] < losses[0] - 0.5
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in editor.net.parameters())


def test_irrelevant_probes_and_other_edits_are_pushed_away(
    backbone: Backbone, config: EditorConfig, cases: list[EditCase]
) -> None:
    editor = editor_of(backbone, config)
    right = [(i, c.probes[0]) for i, c in enumerate(cases)]
    wrong = [(i, c.probes[1]) for i, c in enumerate(cases)]
    optimiser = torch.optim.Adam(editor.routing.parameters(), lr=1e-2)
    for _ in range(30):
        loss = editor._contrast(cases, right, wrong)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    keys = editor.gate.keys([c.request for c in cases])
    asked = editor.gate.reader.questions([Question(p.image, p.prompt) for _, p in right + wrong])
    passed = editor.gate.relevance(asked, keys) >= editor.gate.threshold
    assert torch.equal(passed, torch.cat([torch.eye(3), torch.zeros(3, 3)]).bool())


def test_an_edit_of_the_same_fact_is_no_negative(
    backbone: Backbone, config: EditorConfig, cases: list[EditCase]
) -> None:
    """The gradient of the contrast is unchanged by a second edit that its probes may as well go to."""
    editor = editor_of(backbone, config)
    probe = replace(cases[0].probes[0], entity="A", relation="name")
    twice = [replace(cases[0], probes=(probe,), entity="A", relation=relation) for relation in ("name", "other")]
    same, other = (editor._contrast([twice[0], case, cases[1]], [(0, probe)], []).item() for case in twice)
    assert same < other - 0.1


def test_stored_it_makes_the_same_edits(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest], tmp_path: Path
) -> None:
    editor, other = stirred(editor_of(backbone, config)), editor_of(backbone, config)
    save_trained(editor, config.cls, backbone, tmp_path)
    load_trained(other, config.cls, backbone, tmp_path)
    for one, same in zip(editor.edit(requests), other.edit(requests), strict=True):
        assert_same(one, same)
