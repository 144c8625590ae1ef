"""Deltas: a row under an edit against a model whose weights hold it, and a row under none against the base."""

import copy
from collections.abc import Sequence

import pytest
import torch
from PIL import Image
from torch import Tensor

from ldke_pl.backbone import CONNECTOR, Backbone
from ldke_pl.backbone.hooks import captured
from ldke_pl.backbone.prompts import prompt_ends
from ldke_pl.data import Question
from ldke_pl.edits import BASE_ROW, Delta, Deltas, applied
from ldke_pl.edits.deltas import n_bytes

LOW, HIGH = "decoder.1", "decoder.6"


def made(backbone: Backbone, sites: Sequence[str], rank: int | None, seed: int, *, bias: bool = False) -> Deltas:
    """A random edit, large enough to be seen; ``rank`` None is a full update."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return 0.2 * torch.randn(shape, generator=generator)

    deltas = {}
    for site in sites:
        for name, m in backbone.sites[site].slots.items():
            shapes = (
                [(m.out_features, m.in_features)] if rank is None else [(rank, m.in_features), (m.out_features, rank)]
            )
            deltas[name] = Delta(tuple(drawn(*s) for s in shapes), drawn(1, m.out_features) if bias else None)
    return deltas


def written(backbone: Backbone, deltas: Deltas) -> Backbone:
    """A copy of the base whose weights hold the edit."""
    model = copy.deepcopy(backbone.model)
    with torch.no_grad():
        for name, delta in deltas.items():
            linear = model.get_submodule(name)
            linear.weight += torch.linalg.multi_dot(delta.factors[::-1]) if len(delta.factors) > 1 else delta.factors[0]
            if delta.bias is not None:
                held = torch.zeros(linear.out_features) if linear.bias is None else linear.bias
                linear.bias = torch.nn.Parameter(held + delta.bias[0])
    return Backbone(model, backbone.processor, "written")


def logits(backbone: Backbone, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = backbone.model(**batch).logits
    return found


@pytest.fixture
def batch(backbone: Backbone, pictures: list[Image.Image]) -> dict[str, Tensor]:
    """Five rows, of which the first, third and fourth have pictures."""
    shown = [pictures[0], None, pictures[1], pictures[0], None]
    asked = ["Which country is this?", "Who leads Balumo?", "Who leads this country?", "Why?", "Who?"]
    return dict(backbone.prompts.encode([Question(i, q) for i, q in zip(shown, asked, strict=True)]))


@pytest.mark.parametrize(("seed", "ranks", "bias"), [(0, (1, 5), False), (1, (8, 3), True), (2, (None, None), False)])
def test_every_row_is_that_of_a_model_with_its_edit_written(
    backbone: Backbone, batch: dict[str, Tensor], seed: int, ranks: tuple[int | None, ...], bias: bool
) -> None:
    first = made(backbone, [CONNECTOR, LOW], ranks[0], seed, bias=bias)
    second = made(backbone, [LOW, HIGH], ranks[1], seed + 10, bias=bias)
    rows, images = torch.tensor([0, 1, 0, 1, BASE_ROW]), torch.tensor([0, 0, 1])
    base = logits(backbone, batch)
    with applied(backbone, [first, second], rows, images):
        found = logits(backbone, batch)
    wanted = {BASE_ROW: base} | {i: logits(written(backbone, d), batch) for i, d in enumerate((first, second))}
    there = batch["attention_mask"].bool()
    for row, number in enumerate(rows.tolist()):
        torch.testing.assert_close(found[row][there[row]], wanted[number][row][there[row]], atol=2e-4, rtol=1e-3)
        assert torch.equal(found[row], base[row]) == (number == BASE_ROW)


@pytest.mark.parametrize("rank", [4, None])
def test_deltas_kept_in_bfloat16_are_computed_in_fp32(
    backbone: Backbone, batch: dict[str, Tensor], rank: int | None
) -> None:
    edit = made(backbone, [CONNECTOR, LOW], rank, 0, bias=True)
    rounded = {name: delta.to(torch.bfloat16) for name, delta in edit.items()}
    same = {name: delta.to(torch.float32) for name, delta in rounded.items()}
    rows, images = torch.tensor([0, BASE_ROW, 0, 0, 0]), torch.zeros(3, dtype=torch.long)
    found = []
    for deltas in (rounded, same):
        with applied(backbone, [deltas], rows, images):
            found.append(logits(backbone, batch))
    assert torch.equal(*found)
    assert n_bytes(rounded) == n_bytes(edit) / 2


def test_base_rows_are_bit_equal_and_nothing_stays(backbone: Backbone, batch: dict[str, Tensor]) -> None:
    edit, base = made(backbone, [CONNECTOR, LOW, HIGH], 4, 0), logits(backbone, batch)
    rows, images = torch.tensor([BASE_ROW, 0, BASE_ROW, BASE_ROW, BASE_ROW]), torch.full((3,), BASE_ROW)
    with pytest.raises(KeyError), applied(backbone, [edit], rows, images):
        found = logits(backbone, batch)
        raise KeyError
    assert [torch.equal(a, b) for a, b in zip(found, base, strict=True)] == [True, False, True, True, True]
    assert torch.equal(logits(backbone, batch), base)


def test_pictures_take_the_connector_by_their_own_number(backbone: Backbone, batch: dict[str, Tensor]) -> None:
    edit, base = made(backbone, [CONNECTOR], 4, 0), logits(backbone, batch)
    with applied(backbone, [edit], torch.full((5,), BASE_ROW), torch.tensor([BASE_ROW, 0, BASE_ROW])):
        found = logits(backbone, batch)
    assert [torch.equal(a, b) for a, b in zip(found, base, strict=True)] == [True, True, False, True, True]
    with applied(backbone, [edit], torch.zeros(5, dtype=torch.long)):
        assert torch.equal(logits(backbone, batch), base)


def test_repeated_rows_take_the_edit_of_their_row(backbone: Backbone, batch: dict[str, Tensor]) -> None:
    edits = [made(backbone, [LOW], rank, rank) for rank in (2, 3)]
    rows, texts = torch.tensor([1, BASE_ROW, 0]), {n: batch[n][[1, 4, 1]] for n in ("input_ids", "attention_mask")}
    with applied(backbone, edits, rows):
        once = logits(backbone, texts)
        beams = logits(backbone, {name: value.repeat_interleave(3, 0) for name, value in texts.items()})
    torch.testing.assert_close(beams, once.repeat_interleave(3, 0), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(once[0], once[2], atol=1e-3)


def valued(backbone: Backbone, seed: int) -> Deltas:
    """An edit that replaces the output of a layer at the last prompt token."""
    ((name, slot),) = backbone.sites[LOW].slots.items()
    value = torch.randn(1, slot.out_features, generator=torch.Generator().manual_seed(seed))
    return {name: Delta((), value, replaces=True)}


def test_a_value_replaces_the_output_at_the_last_prompt_token_alone(
    backbone: Backbone, pictures: list[Image.Image]
) -> None:
    questions = [Question(pictures[0], "Which country is this?"), Question(None, "Who?"), Question(None, "Why not?")]
    left = backbone.prompts.encode(questions)
    right, labels = backbone.prompts.encode_answers(questions, ["a b c", "x", "y"])
    ends, rows = prompt_ends(labels), torch.tensor([1, BASE_ROW, 0])
    edits = [valued(backbone, 0), valued(backbone, 1)]
    ((name, slot),) = backbone.sites[LOW].slots.items()
    for inputs, at, given in ((left, torch.full((3,), left["input_ids"].shape[1] - 1), None), (right, ends, ends)):
        # Ours is prepended, so that it runs before the hook that records.
        with captured({name: slot.module}) as seen, torch.no_grad():
            backbone(**inputs)
            before = seen[name]
            with applied(backbone, edits, rows, torch.tensor([1]), ends=given):
                backbone(**inputs)
        wanted = before.clone()
        for row, number in enumerate(rows.tolist()):
            if number >= 0:
                wanted[row, at[row]] = edits[number][name].bias
        assert torch.equal(seen[name], wanted)


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_under_a_value_is_that_of_full_passes(backbone: Backbone, beams: int) -> None:
    edit, batch = (
        valued(backbone, 0),
        backbone.prompts.encode([Question(None, "Who?"), Question(None, "Why is it so?")]),
    )
    rows, settings = (
        torch.tensor([0, BASE_ROW]),
        {"do_sample": False, "max_new_tokens": 4, "num_return_sequences": beams},
    )
    length = batch["input_ids"].shape[1]
    with applied(backbone, [edit], rows):
        made = backbone.generate(
            **batch, **settings, num_beams=beams, output_logits=True, return_dict_in_generate=True, pad_token_id=0
        )
    ids = made.sequences
    attention = torch.cat([batch["attention_mask"].repeat_interleave(beams, 0), torch.ones_like(ids[:, length:])], 1)
    with applied(backbone, [edit], rows, ends=torch.full((2,), length - 1)), torch.no_grad():
        full = backbone(input_ids=ids, attention_mask=attention).logits[:, length - 1]
    torch.testing.assert_close(made.logits[0], full, atol=1e-4, rtol=1e-4)
    if beams == 1:
        with applied(backbone, [edit], rows, ends=torch.full((2,), length - 1)), torch.no_grad():
            last = backbone(input_ids=ids, attention_mask=attention).logits[:, -2]
        torch.testing.assert_close(made.logits[-1], last, atol=1e-4, rtol=1e-4)


def test_size_counts_every_tensor() -> None:
    delta = Delta((torch.zeros(2, 3), torch.zeros(4, 2)), torch.zeros(1, 4))
    assert n_bytes({"a": delta, "b": Delta((torch.zeros(4, 3),))}) == 4 * (6 + 8 + 4 + 12)
