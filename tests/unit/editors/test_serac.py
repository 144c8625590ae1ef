"""SERAC and MSCKE: what their scope classifiers see, what they learn, and how the counterfactual model is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, Question
from ldke_pl.editors import GatedEditor, TrainedEditor
from ldke_pl.editors.mscke import MSCKE
from ldke_pl.editors.scope import labels
from ldke_pl.editors.serac import SERAC
from ldke_pl.editors.store import load_trained, save_trained
from ldke_pl.editors.training import drawn
from ldke_pl.errors import ArtefactError
from ldke_pl.modules.meta import validation_loss
from ldke_pl.router import Features

BOTH = pytest.mark.parametrize("cls", [SERAC, MSCKE])
CAPITAL, LEADER = "What is the capital of this country?", "Who leads this country?"


def settings(name: str = "serac") -> EditorConfig:
    return load_config(EditConfig, CONF_DIR / "edit.yaml", [f"editor={name}"]).editor[name]


def made(cls: type[SERAC], backbone: Backbone) -> SERAC:
    return cls(backbone, settings(), lambda requests: [() for _ in requests])


def case(name: str, picture: Image.Image, prompt: str, relation: str, target: str, other: Image.Image) -> EditCase:
    """An edit about ``name``, asked again on its own picture, and the same question about another thing."""
    probes = (
        Probe(ProbeKind.RELIABILITY, picture, prompt, target, name, relation),
        Probe(ProbeKind.TEXT_GENERALITY, picture, f"Tell me: {prompt}", target, name, relation),
        Probe(ProbeKind.TEXT_LOCALITY, None, "What is the capital of Mofeda?", "Maloton", "Mofeda", "capital"),
        Probe(ProbeKind.VISUAL_LOCALITY, other, prompt, "?", "other", relation),
        Probe(ProbeKind.FINEGRAINED_LOCALITY, picture, "What colour is the background?", "grey", name, "background"),
        Probe(ProbeKind.PORTABILITY_1, picture, "Which river flows through the capital?", "x", name, "river"),
    )
    return EditCase(f"{name} {relation}", EditRequest(picture, prompt, target), probes, "", name, relation)


@pytest.fixture
def cases(pictures: list[Image.Image]) -> list[EditCase]:
    """Two edits of different things by one question, and one of the first thing by another question."""
    return [
        case("A", pictures[0], CAPITAL, "capital", "Balumo", pictures[3]),
        case("B", pictures[1], CAPITAL, "capital", "Rezisi", pictures[3]),
        case("A", pictures[0], LEADER, "leader", "Fabuovic", pictures[3]),
    ]


def fitted(editor: SERAC, cases: list[EditCase], steps: int, lr: float = 3e-3) -> list[float]:
    """The losses of a few steps of training."""
    optimiser, generator, losses = torch.optim.Adam(editor.net.parameters(), lr=lr), torch.Generator(), []
    for _ in range(steps):
        loss = editor.training_loss(cases, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return losses


def relevance(editor: SERAC, request: EditRequest, questions: list[Question]) -> torch.Tensor:
    (edit,) = editor.edit([request])
    return editor.gate.relevance(editor.gate.reader.questions(questions), [edit.key])[:, 0]


def test_only_mscke_sees_pictures(backbone: Backbone, pictures: list[Image.Image]) -> None:
    request = EditRequest(pictures[0], CAPITAL, "Balumo")
    questions = [Question(pictures[0], CAPITAL), Question(pictures[1], CAPITAL), Question(None, CAPITAL)]
    blind = relevance(made(SERAC, backbone), request, questions)
    seeing = relevance(made(MSCKE, backbone), request, questions)
    torch.testing.assert_close(blind, torch.ones(3), atol=1e-5, rtol=0)
    assert seeing[0] == pytest.approx(1, abs=1e-5)
    assert (seeing[1:] < 0.999).all()


@BOTH
def test_relevance_is_of_every_query_to_every_key(cls: type[SERAC], backbone: Backbone, cases: list[EditCase]) -> None:
    editor = made(cls, backbone)
    queries = editor.gate.reader.questions([Question(c.request.image, c.request.prompt) for c in cases])
    found = editor.gate.relevance(queries, [e.key for e in editor.edit([c.request for c in cases[:2]])])
    assert found.shape == (3, 2)
    assert ((found >= 0) & (found <= 1)).all()
    assert editor.gate.relevance(queries, []).shape == (3, 0)
    assert editor.gate.threshold == 0.5


@BOTH
def test_training_lowers_the_loss_and_leaves_the_base(
    cls: type[SERAC], backbone: Backbone, cases: list[EditCase]
) -> None:
    editor = made(cls, backbone)
    assert isinstance(editor, TrainedEditor) and isinstance(editor, GatedEditor)
    before = {name: value.clone() for name, value in editor.net.state_dict().items()}
    losses = fitted(editor, cases, 6)
    assert losses[-1] < losses[0] - 0.5
    assert all(not torch.equal(value, before[name]) for name, value in editor.net.state_dict().items())
    assert all(p.grad is None for p in backbone.model.parameters())


def test_the_loss_of_other_cases_is_the_same_however_often_it_is_taken(
    backbone: Backbone, cases: list[EditCase]
) -> None:
    editor = made(SERAC, backbone)
    before = [validation_loss(editor, cases[1:], 2) for _ in range(2)]
    assert before[0] == before[1]
    assert all(p.grad is None for p in editor.net.parameters())
    fitted(editor, cases[1:], 6)
    assert 0 < validation_loss(editor, cases[1:], 2) < before[0]
    assert not editor.net.training


def test_the_classifiers_learn_what_they_can_see(backbone: Backbone, cases: list[EditCase]) -> None:
    probes = cases[0].probes
    found = {}
    for cls in (SERAC, MSCKE):
        editor = made(cls, backbone)
        optimiser, generator = torch.optim.Adam(editor.scope.parameters(), lr=1e-2), torch.Generator()
        for _ in range(40):
            pairs = [p for inside in (True, False) for p in drawn(cases, generator, relevant=inside, each=9)]
            optimiser.zero_grad()
            editor.gate.training_loss(cases, pairs).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        found[cls] = relevance(editor, cases[0].request, [Question(p.image, p.prompt) for p in probes]) >= 0.5
    assert found[MSCKE].tolist()[:5] == [True, True, False, False, False]
    assert found[SERAC].tolist()[:5] == [True, True, False, True, False]


def test_each_question_is_read_once(backbone: Backbone, cases: list[EditCase], monkeypatch: pytest.MonkeyPatch) -> None:
    editor = made(MSCKE, backbone)
    reader, read = editor.gate.reader.reader, list[int]()
    original = reader.questions

    def counted(asked: list[Question]) -> Features:
        read.append(len(asked))
        return original(asked)

    monkeypatch.setattr(reader, "questions", counted)
    generator = torch.Generator()
    for _ in range(3):
        editor.training_loss(cases, generator)
    assert read == [3, 8]  # the edits' own questions; those of the probes that are not the same


def test_labels(cases: list[EditCase]) -> None:
    asked = [(0, p) for p in cases[0].probes[:5]]
    assert labels(cases, asked, blind=False).tolist() == [[1, 0, -1], [1, 0, -1], [0, 0, 0], [0, 0, 0], [0, 0, -1]]
    # A blind classifier is not told that the capital is asked about other pictures.
    assert labels(cases, asked, blind=True).tolist() == [[1, -1, -1], [1, -1, -1], [0, 0, 0], [-1, -1, 0], [0, 0, -1]]


@BOTH
def test_a_stored_method_edits_as_before(
    cls: type[SERAC], backbone: Backbone, cases: list[EditCase], tmp_path: Path
) -> None:
    editor, again = made(cls, backbone), made(cls, backbone)
    fitted(editor, cases, 2)
    name, (request, *_) = f"{cls.__module__}.{cls.__name__}", [c.request for c in cases]
    save_trained(editor, name, backbone, tmp_path)
    load_trained(again, name, backbone, tmp_path)
    (one,), (other,) = editor.edit([request]), again.edit([request])
    assert (one.edit_id, one.context, one.sites) == (other.edit_id, other.context, other.sites)
    for layer, delta in one.deltas.items():
        assert all(torch.equal(a, b) for a, b in zip(delta.factors, other.deltas[layer].factors, strict=True))
    questions = [Question(p.image, p.prompt) for p in cases[1].probes]
    torch.testing.assert_close(relevance(editor, request, questions), relevance(again, request, questions))
    with pytest.raises(ArtefactError, match="another method or base"):
        load_trained(again, "ldke_pl.editors.other.Other", backbone, tmp_path)


@BOTH
def test_an_edit_is_told_in_front_of_a_question_without_picture(
    cls: type[SERAC], backbone: Backbone, cases: list[EditCase]
) -> None:
    editor = made(cls, backbone)
    fitted(editor, cases, 1)
    first, second = editor.edit([c.request for c in cases[:2]])
    asked = first.asked(Question(cases[0].request.image, LEADER))
    assert asked == Question(None, f"{CAPITAL} Balumo. {LEADER}")
    assert first.sites == tuple(f"decoder.{i}" for i in range(len(backbone.layers)))
    assert first.deltas is not second.deltas and first.deltas.keys() == second.deltas.keys()
    assert all(t.device.type == "cpu" and not t.requires_grad for d in first.deltas.values() for t in d.tensors())
    assert any(d.factors[1].abs().max() > 0 for d in first.deltas.values())
    # What training changes afterwards is no part of an edit.
    kept = {name: delta.factors[1].clone() for name, delta in first.deltas.items()}
    fitted(editor, cases, 1)
    assert all(torch.equal(delta.factors[1], kept[name]) for name, delta in first.deltas.items())


def test_the_counterfactual_model_learns_from_what_it_is_told(
    backbone: Backbone, cases: list[EditCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[Question] = []
    original = backbone.prompts.encode_answers

    def noted(asked: list[Question], answers: list[str]) -> object:
        questions.extend(asked)
        return original(asked, answers)

    monkeypatch.setattr(backbone.prompts, "encode_answers", noted)
    made(SERAC, backbone).training_loss(cases, torch.Generator())
    assert [q.image for q in questions] == [None] * 3
    assert all(
        q.prompt.startswith(f"{c.request.prompt} {c.request.target}. ") for q, c in zip(questions, cases, strict=True)
    )


def test_settings_of_both(backbone: Backbone) -> None:
    for name in ("serac", "mscke"):
        config = settings(name)
        assert (config.cls.rpartition(".")[2].lower(), config.routing) == (name, "own")
        assert len(SERAC(backbone, replace(config, rank=2), lambda requests: []).adapter.down[0]) == 2
