"""GRACE: values that replace an output inside a ball, balls that split or grow, and nothing outside them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.codebook import BallGate
from ldke_pl.editors.grace import GRACE
from ldke_pl.editors.lora import LoRA
from ldke_pl.edits import Edit, applied
from ldke_pl.edits.artefact import Artefact, load_artefact, save_artefact
from ldke_pl.errors import ConfigError
from ldke_pl.router import Key, best

SITE = "decoder.4"
TEXTS = [EditRequest(None, prompt, "Ada Lovelace") for prompt in ("Who?", "Which country is this, and why?")]


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    read = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=grace"]).editor["grace"]
    return replace(read, steps=2, lr=0.1, radius=1.0, stop_loss=0.0)


def made(backbone: Backbone, config: EditorConfig) -> GRACE:
    return GRACE(backbone, config, lambda requests: [(SITE,)] * len(requests))


def key(*state: float, radius: float = 1.0) -> Key:
    return {"state": torch.tensor(state), "radius": torch.tensor(radius)}


def routed(editor: GRACE, queries: list[Key], edits: list[Edit]) -> list[int]:
    asked = {"state": torch.stack([q["state"] for q in queries])}
    found: list[int] = best(editor.gate.relevance(asked, [e.key for e in edits]), editor.gate.threshold).tolist()
    return found


def edit(name: str, target: str, *state: float) -> Edit:
    return Edit(name, "Who?", target, (SITE,), {name: object()}, key(*state))  # type: ignore[dict-item]


def test_the_key_is_what_enters_the_layer_at_the_last_token(
    backbone: Backbone, config: EditorConfig, pictures: list[Image.Image]
) -> None:
    requests = [EditRequest(pictures[0], "Which country is this?", "x"), *TEXTS]
    edits = made(backbone, config).edit(requests)
    seen: list[Tensor] = []
    linear = backbone.layers[4].mlp.down_proj
    for request in requests:
        handle = linear.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        with torch.no_grad():
            backbone(**backbone.prompts.encode([Question(request.image, request.prompt)]))
        handle.remove()
    for one, entering in zip(edits, seen, strict=True):
        torch.testing.assert_close(one.key["state"], entering[0, -1], atol=1e-4, rtol=1e-4)
        assert one.key["radius"] == config.radius


def test_a_query_outside_the_ball_goes_to_the_base(backbone: Backbone, config: EditorConfig) -> None:
    editor = made(backbone, config)
    edits = editor.edit(TEXTS[:1])
    (state,) = editor.gate.reader.questions([Question(None, TEXTS[0].prompt)])["state"]
    step = torch.nn.functional.normalize(torch.ones_like(state), dim=0)
    queries = [{"state": state + far * step} for far in (0.0, 0.99, 1.01, 5.0)]
    assert routed(editor, queries, edits) == [0, 0, -1, -1]


def test_relevance_falls_with_distance_and_only_the_nearest_key_counts(
    backbone: Backbone, config: EditorConfig
) -> None:
    gate: BallGate = made(backbone, config).gate
    queries = {"state": torch.tensor([[0.0], [1.0], [2.0], [9.0]])}
    found = gate.relevance(queries, [key(0.0, radius=2.0)])[:, 0]
    assert found[0] == 1 and found[2] == 0.5 and (found.diff() < 0).all() and found[3] > 0
    both = gate.relevance({"state": torch.tensor([[1.9]])}, [key(0.0, radius=2.0), key(3.0, radius=0.5)])
    assert both[0, 0] == 0 and 0 < both[0, 1] < 0.5
    assert gate.relevance(queries, []).shape == (4, 0)


def test_conflicting_keys_split_the_space_between_them(backbone: Backbone, config: EditorConfig) -> None:
    editor = made(backbone, config)
    alone = [edit("a", "x", 0.0), edit("b", "y", 0.8)]
    edits = editor.edit_together(TEXTS, alone)
    assert [float(e.key["radius"]) for e in edits] == pytest.approx([0.4, 0.4])
    assert [e.deltas is o.deltas for e, o in zip(edits, alone, strict=True)] == [True, True]
    assert routed(editor, [key(x) for x in (-0.5, -0.3, 0.39, 0.41, 1.1, 1.3)], edits) == [-1, 0, 0, 1, 1, -1]


def test_a_codebook_at_the_connector_is_refused(backbone: Backbone, config: EditorConfig) -> None:
    with pytest.raises(ConfigError, match="decoder layer"):
        GRACE(backbone, config, lambda requests: [("connector",)] * len(requests))


def test_values_and_adapters_are_saved_and_loaded(backbone: Backbone, config: EditorConfig, tmp_path: Path) -> None:
    edits = made(backbone, config).edit(TEXTS[:1]) + LoRA(backbone, config, lambda r: [()] * len(r)).edit(TEXTS[1:])
    save_artefact(tmp_path, backbone, Artefact(edits, {}, {}))
    for one, kept in zip(edits, load_artefact(tmp_path, backbone).edits, strict=True):
        assert one.deltas.keys() == kept.deltas.keys()
        for name, delta in one.deltas.items():
            assert delta.replaces == kept.deltas[name].replaces
            torch.testing.assert_close(delta.tensors(), kept.deltas[name].tensors(), atol=0, rtol=0)


def test_splitting_never_enlarges_a_ball(backbone: Backbone, config: EditorConfig) -> None:
    alone = [edit("a", "x", 0.0), edit("b", "y", 0.2), edit("c", "z", -0.9)]
    edits = made(backbone, config).edit_together(TEXTS, alone)
    assert [float(e.key["radius"]) for e in edits] == pytest.approx([0.1, 0.1, 0.45])


def test_a_ball_expands_to_a_key_of_the_same_target(backbone: Backbone, config: EditorConfig) -> None:
    editor = made(backbone, config)
    alone = [edit("a", "x", 0.0), edit("b", "x", 1.6), edit("c", "x", 9.0)]
    first, covered, far = editor.edit_together(TEXTS, alone)
    assert covered.edit_id == "b" and covered.deltas is first.deltas
    assert float(first.key["radius"]) == float(covered.key["radius"]) == pytest.approx(1.6)
    assert float(far.key["radius"]) == 1.0 and far.deltas is alone[2].deltas
    assert routed(editor, [key(x) for x in (1.5, 1.7, -1.5)], [first, covered, far]) == [0, -1, 0]


def test_a_batch_gives_the_edits_of_single_runs(
    backbone: Backbone, config: EditorConfig, pictures: list[Image.Image]
) -> None:
    requests = [EditRequest(pictures[0], "Which country is this?", "Balumo"), *TEXTS]
    together = made(backbone, config).edit(requests)
    apart = made(backbone, replace(config, batch_size=1)).edit(requests)
    for one, other in zip(together, apart, strict=True):
        ((delta,), (alone,)) = one.deltas.values(), other.deltas.values()
        assert delta.replaces and delta.factors == ()
        torch.testing.assert_close(delta.bias, alone.bias, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.key, other.key, atol=1e-4, rtol=1e-4)


def test_the_value_starts_as_the_layers_own_output_and_learns_the_target(
    backbone: Backbone, config: EditorConfig
) -> None:
    questions, answers = [Question(None, TEXTS[1].prompt)], [TEXTS[1].target]
    batch, labels = backbone.prompts.encode_answers(questions, answers)
    ends, found = (labels != -100).int().argmax(1) - 1, []
    for steps in (0, 10):
        (one,) = made(backbone, replace(config, steps=steps)).edit(TEXTS[1:])
        with applied(backbone, [one.deltas], torch.zeros(1, dtype=torch.long), ends=ends), torch.no_grad():
            found.append(float(answer_logits(backbone, batch, labels).loss_per_row()))
    with torch.no_grad():
        base = float(answer_logits(backbone, batch, labels).loss_per_row())
    assert found[0] == pytest.approx(base, abs=1e-4)
    assert found[1] < base - 0.1
