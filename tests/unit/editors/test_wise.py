"""WISE: what its side memory learns, which questions it is opened to, and what its shards become."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors import GatedEditor, JointEditor
from ldke_pl.editors.optimise import Problem
from ldke_pl.editors.wise import NEUTRAL, WISE, Margin, activation, ties
from ldke_pl.edits import Delta, Edit, applied
from ldke_pl.errors import ConfigError
from ldke_pl.router import Key

TEXTS = [EditRequest(None, "Who leads it?", word) for word in ("x", "Ada Lovelace", "grey or blue")]


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    """The method's own settings, but few steps and views."""
    read = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=wise"]).editor["wise"]
    return replace(read, steps=3, views=2)


def high(requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
    return [("decoder.6",)] * len(requests)


def memory(edit: Edit) -> torch.Tensor:
    ((factor,),) = [delta.factors for delta in edit.deltas.values()]
    return factor


def relevance(editor: WISE, edit: Edit, questions: Sequence[Question]) -> torch.Tensor:
    return editor.gate.relevance(editor.reader.questions(questions), [edit.key])[:, 0]


@pytest.fixture
def shown(pictures: list[Image.Image]) -> EditRequest:
    return EditRequest(pictures[0], "Which country is this?", "Balumo", "entity")


def test_the_gate_opens_for_the_edits_own_question_alone(backbone: Backbone, config: EditorConfig) -> None:
    editor = WISE(backbone, replace(config, steps=25, lr=2e-3), high)
    assert isinstance(editor, GatedEditor)
    (edit,) = editor.edit(TEXTS[1:2])
    own, *others = relevance(editor, edit, [Question(None, text) for text in (TEXTS[1].prompt, *NEUTRAL)])
    assert own >= editor.gate.threshold > max(others)


def test_margin_loss_by_hand(backbone: Backbone, config: EditorConfig) -> None:
    editor = WISE(backbone, replace(config, act_alpha=0.2, act_beta=1.5, act_gamma=0.4), high)
    margin = Margin(editor.reader, editor.config)
    delta = Delta((editor.slot.module.weight * 0.5,))
    problem = Problem(TEXTS[0], "it", [Question(None, TEXTS[0].prompt)], {editor.name: delta})
    loss = margin([problem])(problem).item()
    read = editor.reader.questions([Question(None, text) for text in (TEXTS[0].prompt, *NEUTRAL)])
    own, *others = (activation(read, delta.factors[0]) / (2 * activation(read, delta.factors[0])[0])).tolist()
    assert own == pytest.approx(0.5)
    terms = [[o - 0.2 for o in others], [1.5 - own], [o - own + 0.4 for o in others]]
    violated = [[v for v in term if v > 0] for term in terms]
    assert loss == pytest.approx(sum(sum(v) / len(v) for v in violated if v), rel=1e-4)


def test_relevance_is_half_at_the_edits_own_least_activation(
    backbone: Backbone, config: EditorConfig, shown: EditRequest
) -> None:
    (edit,) = (editor := WISE(backbone, replace(config, act_ratio=1.0, views=1), high)).edit([shown])
    asked = [Question(shown.image, shown.prompt)]
    torch.testing.assert_close(relevance(editor, edit, asked), torch.tensor([0.5]))
    loose = replace(edit, key=edit.key | {"epsilon": edit.key["epsilon"] / 3})
    torch.testing.assert_close(relevance(editor, loose, asked), torch.tensor([0.75]))


def test_an_empty_memory_is_relevant_to_nothing(backbone: Backbone, config: EditorConfig) -> None:
    editor = WISE(backbone, replace(config, steps=0), high)
    (edit,) = editor.edit(TEXTS[:1])
    assert memory(edit).count_nonzero() == 0
    assert relevance(editor, edit, [Question(None, TEXTS[0].prompt)]).tolist() == [0]
    assert editor.gate.relevance(editor.reader.questions([Question(None, "Who?")]), []).shape == (1, 0)


def test_a_shared_key_is_compared_once(
    backbone: Backbone, config: EditorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = WISE(backbone, config, high)
    keys: list[Key] = [{"delta": torch.ones_like(editor.slot.module.weight), "epsilon": torch.ones(())} for _ in "ab"]
    read, asked = editor.reader.questions([Question(None, "Who?"), Question(None, "Where is it?")]), []
    expected = editor.gate.relevance(read, keys)
    column = editor.gate._column
    monkeypatch.setattr(editor.gate, "_column", lambda queries, key: asked.append(key) or column(queries, key))
    found = editor.gate.relevance(read, [keys[0], keys[1], keys[0], keys[0]])
    assert len(asked) == 2
    assert torch.equal(found, expected[:, [0, 1, 0, 0]])


def test_activation_is_the_mean_norm_over_tokens() -> None:
    read = {"inputs": torch.tensor([[[3.0, 4.0], [0.0, 1.0], [9.0, 9.0]]]), "mask": torch.tensor([[1.0, 1.0, 0.0]])}
    assert activation(read, 2 * torch.eye(2)).tolist() == [(10 + 2) / 2]


def test_what_a_question_activates_does_not_depend_on_its_batch(
    backbone: Backbone, config: EditorConfig, shown: EditRequest
) -> None:
    editor = WISE(backbone, config, high)
    asked = [Question(None, "Who?"), Question(shown.image, "And what is the capital of this country, please?")]
    delta = editor.slot.module.weight
    together = activation(editor.reader.questions(asked), delta)
    alone = torch.cat([activation(editor.reader.questions([q]), delta) for q in asked])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_a_batch_gives_the_edits_of_single_runs(backbone: Backbone, config: EditorConfig, shown: EditRequest) -> None:
    requests = [shown, TEXTS[1], TEXTS[2]]
    together = WISE(backbone, replace(config, steps=2), high).edit(requests)
    apart = WISE(backbone, replace(config, steps=2, batch_size=1), high).edit(requests)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(memory(one), memory(other), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.key["epsilon"], other.key["epsilon"], atol=1e-3, rtol=1e-3)
    assert not torch.allclose(memory(together[1]), memory(together[2]), atol=1e-3)


def test_masks_keep_updates_sparse_and_apart(backbone: Backbone, config: EditorConfig) -> None:
    one, other = WISE(backbone, replace(config, steps=2, density=0.1), high).edit(TEXTS[:2])
    written = [memory(edit) != 0 for edit in (one, other)]
    for places in written:
        assert places.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (written[0] & written[1]).float().mean().item() == pytest.approx(0.01, abs=0.005)
    (dense,) = WISE(backbone, replace(config, steps=2, density=1.0), high).edit(TEXTS[:1])
    assert (memory(dense) != 0).float().mean() > 0.9


def test_edits_together_are_one_merged_memory(backbone: Backbone, config: EditorConfig) -> None:
    editor = WISE(backbone, replace(config, steps=5, shards=2, density=0.1), high)
    assert isinstance(editor, JointEditor)
    edits = editor.edit_together(TEXTS, [])
    assert [edit.target for edit in edits] == [request.target for request in TEXTS]
    assert len({edit.edit_id for edit in edits}) == 3
    assert all(edit.deltas is edits[0].deltas and edit.key is edits[0].key for edit in edits)
    assert (memory(edits[0]) != 0).float().mean().item() == pytest.approx(1 - 0.9**2, abs=0.01)
    questions, answers = [Question(None, r.prompt) for r in TEXTS], [r.target for r in TEXTS]
    batch, labels = backbone.prompts.encode_answers(questions, answers)
    with torch.no_grad():
        before = answer_logits(backbone, batch, labels).loss_per_row().mean()
        with applied(backbone, [edits[0].deltas], torch.zeros(3, dtype=torch.long)):
            after = answer_logits(backbone, batch, labels).loss_per_row().mean()
    assert after < before - 0.3


def test_a_shard_goes_on_from_what_was_written(backbone: Backbone, config: EditorConfig) -> None:
    one = WISE(backbone, replace(config, shards=1, shard_batch=1, steps=2), high)
    first, second = one.edit_together(TEXTS[:2], [])
    (alone,) = one.edit_together(TEXTS[:1], [])
    assert (first.edit_id, first.loss) == (alone.edit_id, alone.loss)
    assert torch.equal(memory(second) != 0, memory(alone) != 0)
    assert not torch.allclose(memory(second), memory(alone), atol=1e-3)


def test_the_merged_memory_is_open_to_every_edit_of_it(backbone: Backbone, config: EditorConfig) -> None:
    editor = WISE(backbone, replace(config, act_ratio=1.0, steps=2), high)
    requests = [EditRequest(None, text, "x") for text in ("Who leads it?", "Where is it, then?", "Why?")]
    edits = editor.edit_together(requests, [])
    found = relevance(editor, edits[0], [Question(None, r.prompt) for r in requests])
    assert found.min().item() == pytest.approx(0.5, abs=1e-4)


def test_ties_by_hand() -> None:
    first = torch.tensor([[4.0, -3.0, 2.0, 0.5]])
    second = torch.tensor([[2.0, 5.0, -0.1, 0.0]])
    # Half of each is kept: 4, -3 and 2, 5. Signs: +, +. The mean of those that agree: 3, and 5 alone.
    assert ties(torch.stack([first, second]), 0.5).tolist() == [[3, 5, 0, 0]]
    # Untrimmed, the third and fourth entries have one update each that agrees.
    assert ties(torch.stack([first, second]), 1.0).tolist() == [[3, 5, 2, 0.5]]
    assert ties(first[None], 1.0).equal(first)


def test_a_memory_is_one_decoder_layer(backbone: Backbone, config: EditorConfig) -> None:
    for sites in ((CONNECTOR,), ("decoder.5", "decoder.6")):
        with pytest.raises(ConfigError, match="one decoder layer's projection"):
            WISE(backbone, config, lambda requests, sites=sites: [sites] * len(requests))
