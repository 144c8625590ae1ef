"""MEND: at first a plain gradient step; whatever shares its batch; trained; the same after it was stored."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, Question
from ldke_pl.editors import JointEditor, SequentialEditor, TrainedEditor
from ldke_pl.editors.mend import MEND, Hypernetwork, Transform, sum_of
from ldke_pl.editors.store import load_trained, save_trained
from ldke_pl.edits import Delta, Edit
from ldke_pl.errors import ArtefactError, EditError

THREADS = 1
WORDS = ("Ada Lovelace", "x", "grey or blue")


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    return replace(load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=mend"]).editor["mend"], rank=4)


@pytest.fixture
def requests(pictures: list[Image.Image]) -> list[EditRequest]:
    """With and without picture, and of unlike lengths."""
    shown = EditRequest(pictures[0], "Which country is this?", WORDS[0])
    return [shown, EditRequest(None, "Who?", WORDS[1]), EditRequest(pictures[1], "What is it that you see?", WORDS[2])]


@pytest.fixture
def cases(requests: list[EditRequest], pictures: list[Image.Image]) -> list[EditCase]:
    """Each request with its own question and one that must not change."""
    told = [Probe(ProbeKind.RELIABILITY, r.image, r.prompt, r.target) for r in requests]
    other = Probe(ProbeKind.IMAGE_LOCALITY, pictures[2], "Where was this?", "blue")
    return [EditCase(str(i), r, (p, other)) for i, (r, p) in enumerate(zip(requests, told, strict=True))]


def editor_of(backbone: Backbone, config: EditorConfig) -> MEND:
    return MEND(backbone, config, lambda requests: [()] * len(requests))


def stirred(editor: MEND) -> MEND:
    """An editor that is no longer where it starts: what is learned is drawn at random, what is normalised is known."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in editor.net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return editor


def matrices(edit: Edit) -> dict[str, torch.Tensor]:
    return {name: sum_of([delta]) for name, delta in edit.deltas.items()}


def assert_same(one: Edit, other: Edit) -> None:
    for name, matrix in matrices(one).items():
        torch.testing.assert_close(matrix, matrices(other)[name], atol=1e-4, rtol=1e-4)


def test_it_writes_to_every_linear_layer_of_the_last_three_mlps(backbone: Backbone, config: EditorConfig) -> None:
    editor = editor_of(backbone, config)
    assert (
        isinstance(editor, TrainedEditor) and isinstance(editor, JointEditor) and isinstance(editor, SequentialEditor)
    )
    mlps = [layer.get_submodule("mlp") for layer in list(backbone.layers)[-3:]]
    linears = {id(m) for mlp in mlps for m in mlp.modules() if isinstance(m, nn.Linear)}
    assert {id(slot.module) for slot in editor.slots.values()} == linears and len(linears) == 9


def test_untrained_it_takes_a_gradient_step(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    """Compared with what autograd makes of the weights themselves, in a model whose weights are not frozen."""
    editor = editor_of(backbone, replace(config, lr=0.5))
    free = Backbone(copy.deepcopy(backbone.model), backbone.processor, "free")
    weights = {name: free.model.get_submodule(name).get_parameter("weight") for name in editor.slots}
    for request, edit in zip(requests, editor.edit(requests), strict=True):
        for weight in weights.values():
            weight.requires_grad_(True)
        batch, labels = free.prompts.encode_answers([Question(request.image, request.prompt)], [request.target])
        loss = answer_logits(free, batch, labels).loss_per_row().sum()
        found = torch.autograd.grad(loss, list(weights.values()))
        assert edit.loss == pytest.approx(loss.item(), abs=1e-4)
        for matrix, gradient in zip(matrices(edit).values(), found, strict=True):
            assert gradient.abs().max() > 1e-4
            torch.testing.assert_close(matrix, -0.5 * gradient, atol=1e-6, rtol=1e-3)


def test_an_edit_does_not_depend_on_what_shares_its_batch(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest], cases: list[EditCase]
) -> None:
    apart, together = (stirred(editor_of(backbone, replace(config, batch_size=n))) for n in (1, 3))
    for editor in (apart, together):
        editor.training_loss(cases, torch.Generator())  # so that statistics are known
    with torch.inference_mode():
        edits = together.edit(requests)
    for one, other in zip(edits, apart.edit(requests), strict=True):
        assert_same(one, other)
        assert max(m.abs().max() for m in matrices(one).values()) > 1e-3


def test_together_and_in_sequence(backbone: Backbone, config: EditorConfig, requests: list[EditRequest]) -> None:
    editor = stirred(editor_of(backbone, config))
    edits = editor.edit(requests)
    joint = editor.edit_together(requests, edits)
    assert len(joint) == 3 and len({id(e.deltas) for e in joint}) == 1
    for name, matrix in matrices(joint[0]).items():
        torch.testing.assert_close(matrix, sum(matrices(e)[name] for e in edits), atol=1e-5, rtol=1e-4)
    (first,), second = editor.edit_in_sequence(requests, [1, 2])
    assert_same(first, edits[0])
    assert len(second) == 2
    # The second gradient is taken where the first update has led: its update is not the one that it has alone.
    added = {n: m - matrices(first)[n] for n, m in matrices(second[0]).items()}
    assert any((added[n] - m).abs().max() > 1e-4 for n, m in matrices(edits[1]).items())


def test_a_gradient_under_an_update_is_that_of_the_changed_weights(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    editor = editor_of(backbone, config)
    total = {name: Delta((0.02 * torch.randn_like(m),)) for name, m in matrices(editor.edit(requests[:1])[0]).items()}
    changed = Backbone(copy.deepcopy(backbone.model), backbone.processor, "changed")
    with torch.no_grad():
        for name, delta in total.items():
            changed.model.get_submodule(name).get_parameter("weight").add_(delta.factors[0])
    (under,), losses = editor.gradients(requests[:1], total)
    (merged,), expected = editor_of(changed, config).gradients(requests[:1])
    assert losses == pytest.approx(expected, abs=1e-4)
    for name, (u, delta) in under.items():
        torch.testing.assert_close(delta.T @ u, merged[name][1].T @ merged[name][0], atol=1e-4, rtol=1e-3)


def test_statistics_of_parts_are_those_of_the_whole() -> None:
    values, transform = 3 + 2 * torch.randn(50, 5), Transform(5, 1, 2)
    for part in values.split([1, 19, 30]):
        transform.observe(part)
    found = transform(values, 0)
    torch.testing.assert_close(found, (values - values.mean(0)) / values.std(0), atol=1e-4, rtol=1e-4)


def test_training_lowers_the_loss(backbone: Backbone, config: EditorConfig, cases: list[EditCase]) -> None:
    editor = editor_of(backbone, config)
    optimiser = torch.optim.Adam(editor.net.parameters(), lr=1e-2)
    losses = []
    for _ in range(6):
        loss = editor.training_loss(cases, torch.Generator().manual_seed(0))
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None for p in editor.net.parameters())
        optimiser.step()
    assert losses[-1] < losses[0] - 0.02


def test_stored_it_makes_the_same_edits(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest], cases: list[EditCase], tmp_path: Path
) -> None:
    editor, other = stirred(editor_of(backbone, config)), editor_of(backbone, config)
    editor.training_loss(cases, torch.Generator())
    save_trained(editor, config.cls, backbone, tmp_path)
    load_trained(other, config.cls, backbone, tmp_path)
    for one, same in zip(editor.edit(requests), other.edit(requests), strict=True):
        assert_same(one, same)
    with pytest.raises(ArtefactError, match="cannot be used"):
        load_trained(editor_of(backbone, replace(config, rank=3)), config.cls, backbone, tmp_path)


def test_a_net_starts_the_same_whatever_was_drawn_before(backbone: Backbone, config: EditorConfig) -> None:
    slots = editor_of(backbone, config).slots
    one, other = (Hypernetwork(slots, 4, 1e-3).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_is_no_number_names_the_edit(
    backbone: Backbone, config: EditorConfig, requests: list[EditRequest]
) -> None:
    broken = Backbone(copy.deepcopy(backbone.model), backbone.processor, "broken")
    with torch.no_grad():
        broken.layers[0].get_parameter("mlp.down_proj.weight")[0, 0] = torch.nan
    with pytest.raises(EditError, match=r"'Which country is this\?' -> 'Ada Lovelace' is nan"):
        editor_of(broken, config).edit(requests[:1])
