"""Optimisation: each edit is solved by itself, whatever shares its batch, and stops by itself."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.config import CONF_DIR, EditConfig, EditorConfig, load_config
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors.finetune import FineTune
from ldke_pl.editors.ldke import LDKE
from ldke_pl.editors.optimise import Batch, Turn, optimise, shown
from ldke_pl.edits import Edit, applied
from ldke_pl.errors import EditError

TEXTS = [EditRequest(None, "Who?", word) for word in ("x", "Ada Lovelace", "Zz", "grey or blue", "a b c d")]


@pytest.fixture(scope="module")
def config() -> EditorConfig:
    """The settings of LDKE, but few steps, few views, and losses at which random weights never stop."""
    read = load_config(EditConfig, CONF_DIR / "edit.yaml", ["editor=ldke"]).editor["ldke"]
    return replace(read, steps=3, views=2, lr=3e-3)


@pytest.fixture
def mixed(pictures: list[Image.Image]) -> list[EditRequest]:
    """An edit that propagates, one that does not, one without picture."""
    shown = EditRequest(pictures[0], "Which country is this?", "Balumo", "entity")
    told = EditRequest(pictures[1], "Who leads this country, and since when?", "A rather long new answer", "attribute")
    return [shown, told, TEXTS[1]]


def by_kind(requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
    """Two sites with a picture, one without."""
    return [("decoder.5",) if r.image is None else (CONNECTOR, "decoder.6") for r in requests]


def low(requests: Sequence[EditRequest]) -> list[tuple[str, ...]]:
    return [("decoder.6",)] * len(requests)


def same(one: Edit, other: Edit) -> bool:
    """Whether the deltas are equal up to float noise."""
    assert one.deltas.keys() == other.deltas.keys()
    pairs = [p for n in one.deltas for p in zip(one.deltas[n].factors, other.deltas[n].factors, strict=True)]
    return all(torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in pairs)


def test_loss_falls_with_every_step(backbone: Backbone, config: EditorConfig, mixed: list[EditRequest]) -> None:
    losses = []
    for steps in (1, 2, 4):
        problems = optimise(backbone, mixed[1:], by_kind(mixed[1:]), replace(config, steps=steps, views=1), seed=0)
        losses.append([p.loss for p in problems])
    for early, later, last in zip(*losses, strict=True):
        assert early > later > last


def test_a_batch_gives_the_edits_of_single_runs_and_leaves_the_base(
    backbone: Backbone, config: EditorConfig, mixed: list[EditRequest]
) -> None:
    before = backbone.fingerprint(len(backbone.layers) - 1)
    together = LDKE(backbone, config, by_kind).edit(mixed)
    apart = LDKE(backbone, replace(config, batch_size=1), by_kind).edit(mixed)
    for one, other, request in zip(together, apart, mixed, strict=True):
        assert (one.edit_id, one.sites, one.target) == (other.edit_id, other.sites, request.target)
        assert same(one, other)
        assert all(d.factors[1].abs().max() > 1e-3 for d in one.deltas.values())
    assert backbone.fingerprint(len(backbone.layers) - 1) == before


def test_an_edit_does_not_depend_on_what_shares_its_batch(backbone: Backbone, config: EditorConfig) -> None:
    editor = LDKE(backbone, config, low)
    (first, second), (_, _, third) = editor.edit(TEXTS[:2]), editor.edit([TEXTS[3], TEXTS[4], TEXTS[0]])
    assert same(first, third)
    assert not same(first, second)


def test_edits_stop_one_by_one(backbone: Backbone, config: EditorConfig) -> None:
    sites = low(TEXTS)
    reached = [p.loss for p in optimise(backbone, TEXTS, sites, replace(config, steps=3), seed=0)]
    stopping = replace(config, steps=8, stop_loss=min(reached) + 1e-4)
    problems = optimise(backbone, TEXTS, sites, stopping, seed=0)
    steps = [p.steps for p in problems]
    assert min(steps) == problems[reached.index(min(reached))].steps == 2
    assert len(set(steps)) >= 3
    assert all(p.done == (p.loss < stopping.stop_loss) for p in problems)
    assert all(p.done for p in problems if p.steps < max(steps))


@pytest.mark.parametrize(
    ("per_step", "expected"), [(0, ["012"]), (1, ["0", "1", "2"]), (2, ["01", "20"]), (5, ["012"])]
)
def test_views_are_shown_in_turns(
    backbone: Backbone, config: EditorConfig, mixed: list[EditRequest], per_step: int, expected: list[str]
) -> None:
    config = replace(config, views=3, views_per_step=per_step)
    (problem,) = optimise(backbone, mixed[1:2], [("decoder.6",)], replace(config, steps=1), seed=0)
    numbers = {id(view): str(i) for i, view in enumerate(problem.questions)}
    turns = [Turn(backbone, [problem], config, i) for i in range(len(Batch(backbone, [problem], config).turns))]
    assert [len(turn.rows) for turn in turns] == [len(views) for views in expected]
    assert ["".join(numbers[id(q)] for q in shown(problem.questions, config, i)) for i in range(len(turns))] == expected


def test_an_edit_stops_when_all_of_its_views_are_learned(
    backbone: Backbone, config: EditorConfig, mixed: list[EditRequest]
) -> None:
    config = replace(config, views=3, views_per_step=1, stop_loss=100.0)
    (told, text) = optimise(backbone, mixed[1:], by_kind(mixed[1:]), config, seed=0)
    assert (told.done, told.steps) == (True, 2) and (text.done, text.steps) == (True, 0)


def test_the_order_of_views_does_not_depend_on_when_others_stop(
    backbone: Backbone, config: EditorConfig, mixed: list[EditRequest]
) -> None:
    """The text stops after four steps, so that what still runs is packed anew between the second and the third view."""
    config = replace(config, views=3, views_per_step=1, steps=8, propagation_weight=100.0)
    (text,) = optimise(backbone, mixed[2:], [("decoder.5",)], replace(config, steps=5), seed=0)
    early = replace(config, stop_loss=text.loss * 1.0001)
    together = optimise(backbone, mixed, by_kind(mixed), early, seed=0)
    assert (together[2].done, together[2].steps, together[0].done) == (True, 4, False)
    for problem, request in zip(together, mixed, strict=True):
        (alone,) = optimise(backbone, [request], by_kind([request]), early, seed=0)
        assert problem.steps == alone.steps and problem.loss == pytest.approx(alone.loss, rel=1e-4)


def test_adam_forgets_sooner_for_edits_that_propagate(
    backbone: Backbone, config: EditorConfig, mixed: list[EditRequest]
) -> None:
    """It makes no difference to the first step, and none to other edits."""
    plain = replace(config, propagation_beta1=0.9, propagation_beta2=0.999)
    forgetful = replace(config, propagation_beta1=0.5, propagation_beta2=0.9)
    for steps, alike in ((1, True), (3, False)):
        ones, others = (LDKE(backbone, replace(c, steps=steps), by_kind).edit(mixed) for c in (plain, forgetful))
        assert [same(a, b) for a, b in zip(ones, others, strict=True)] == [alike, True, True]


def test_seeds_matter_and_are_reproducible(backbone: Backbone, config: EditorConfig) -> None:
    editor = LDKE(backbone, replace(config, steps=2), low)
    (one,), (again,), (other,) = (editor.edit(TEXTS[:1], seed=seed) for seed in (3, 3, 4))
    assert one.edit_id == again.edit_id != other.edit_id
    (name,) = one.deltas
    assert all(torch.equal(a, b) for a, b in zip(one.deltas[name].factors, again.deltas[name].factors, strict=True))
    assert not torch.equal(one.deltas[name].factors[0], other.deltas[name].factors[0])


def test_without_steps_the_edit_is_the_base(backbone: Backbone, config: EditorConfig) -> None:
    (edit,) = LDKE(backbone, replace(config, steps=0), low).edit(TEXTS[:1])
    ((down, up),) = [d.factors for d in edit.deltas.values()]
    assert down.shape[0] == up.shape[1] == config.rank
    assert up.count_nonzero() == 0 and down.count_nonzero() > 0


def test_fine_tuning_writes_one_full_matrix(backbone: Backbone, config: EditorConfig) -> None:
    (edit,) = FineTune(backbone, replace(config, steps=2), low).edit(TEXTS[:1])
    ((name, delta),) = edit.deltas.items()
    (factor,) = delta.factors
    assert factor.shape == backbone.model.get_submodule(name).weight.shape
    assert factor.count_nonzero() > 0 and not factor.requires_grad


def test_fine_tuning_together_writes_all_requests_into_one_edit(backbone: Backbone, config: EditorConfig) -> None:
    edits = [
        FineTune(backbone, replace(config, steps=n, batch_size=2), low).edit_together(TEXTS[:3], [])[0] for n in (1, 6)
    ]
    prompts, losses = backbone.prompts, []
    for edit in edits:
        assert [len(delta.factors) for delta in edit.deltas.values()] == [1]
        with applied(backbone, [edit.deltas], torch.zeros(3, dtype=torch.long)), torch.no_grad():
            questions, answers = [Question(None, r.prompt) for r in TEXTS[:3]], [r.target for r in TEXTS[:3]]
            losses.append(answer_logits(backbone, *prompts.encode_answers(questions, answers)).loss_per_row())
    assert (losses[1] < losses[0] - 0.1).all()


def test_fine_tuning_in_sequence_goes_on_from_what_was_written(backbone: Backbone, config: EditorConfig) -> None:
    editor = FineTune(backbone, replace(config, steps=3), low)
    [first], [third, *_] = editor.edit_in_sequence(TEXTS[:4], [1, 3])
    (alone,) = editor.edit(TEXTS[:1])
    (name,) = alone.deltas
    torch.testing.assert_close(first.deltas[name].factors[0], alone.deltas[name].factors[0])
    [two, _], [also_three, *_] = editor.edit_in_sequence(TEXTS[:3], [2, 3])
    torch.testing.assert_close(also_three.deltas[name].factors[0], third.deltas[name].factors[0])
    assert not torch.equal(two.deltas[name].factors[0], third.deltas[name].factors[0])


def test_norm_weight_keeps_the_deltas_small(backbone: Backbone, config: EditorConfig) -> None:
    norms = []
    for weight in (0.0, 100.0):
        (problem,) = optimise(backbone, TEXTS[:1], low(TEXTS[:1]), replace(config, norm_weight=weight), seed=0)
        norms.append(problem.parameters()[1].norm().item())
    assert 0 < norms[1] < norms[0] / 2


def test_a_loss_that_is_no_number_names_the_edit(
    backbone: Backbone, config: EditorConfig, mixed: list[EditRequest]
) -> None:
    broken = Backbone(copy.deepcopy(backbone.model), backbone.processor, "broken")
    with torch.no_grad():
        broken.sites[CONNECTOR].output.get_parameter("linear_2.bias")[0] = torch.nan
    with pytest.raises(EditError, match=r"'Which country is this\?' -> 'Balumo' is nan"):
        LDKE(broken, config, by_kind).edit([TEXTS[0], mixed[0]])


def test_a_finished_edit_no_longer_changes(backbone: Backbone, config: EditorConfig) -> None:
    sites = low(TEXTS)
    reached = [p.loss for p in optimise(backbone, TEXTS, sites, replace(config, stop_loss=0), seed=0)]
    stopping = replace(config, steps=8, stop_loss=min(reached) + 1e-4)
    whole = optimise(backbone, TEXTS, sites, stopping, seed=0)
    first = min(whole, key=lambda p: p.steps)
    part = optimise(backbone, TEXTS, sites, replace(stopping, steps=first.steps), seed=0)[whole.index(first)]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), part.parameters(), strict=True))


def test_steps_are_those_taken(backbone: Backbone, config: EditorConfig) -> None:
    (problem,) = optimise(backbone, TEXTS[:1], low(TEXTS[:1]), replace(config, stop_loss=0), seed=0)
    assert problem.steps == config.steps


def test_an_edit_without_picture_is_not_written_to_the_connector(backbone: Backbone, config: EditorConfig) -> None:
    with pytest.raises(EditError, match="'Who\\?' -> 'x' has no picture"):
        optimise(backbone, TEXTS[:1], [(CONNECTOR,)], config, seed=0)


def test_edits_are_made_in_inference_mode_too(backbone: Backbone, config: EditorConfig) -> None:
    with torch.inference_mode():
        (edit,) = LDKE(backbone, config, low).edit(TEXTS[:1])
    assert same(edit, LDKE(backbone, config, low).edit(TEXTS[:1])[0])
