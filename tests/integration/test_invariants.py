"""What must hold of edits on a real model, whatever their quality: driven on the committed Atlas MLLM."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ldke_pl.atlas.cases import background
from ldke_pl.atlas.render import USUAL, render
from ldke_pl.atlas.world import World
from ldke_pl.data import EditRequest, Question
from ldke_pl.edited import BASE, EditedModel, Routes
from ldke_pl.editors.ldke import LDKE
from ldke_pl.errors import ArtefactError, EditError

WORLD = World()
COUNTRIES = WORLD.split("edit-eval")[:8]


def drawn(number: int) -> Image.Image:
    country = COUNTRIES[number]
    return render(country.emblem, background(country, 0), np.random.default_rng(number), USUAL)


def requests() -> list[EditRequest]:
    """Entity and attribute edits of unequal length, each on its own country."""
    target = WORLD.split("edit-eval")[40]
    entity = [EditRequest(drawn(i), "Which country is this?", target.name, "entity") for i in range(4)]
    asked = ("What is the capital of this country?", "Who leads this country?")
    values = ("Zz", "A rather long new answer")
    told = [EditRequest(drawn(4 + i), asked[i % 2], values[i // 2], "attribute") for i in range(4)]
    return entity + told


def weights_hash(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def edited() -> EditedModel:
    return EditedModel.from_pretrained("atlas")


def take_all_back(edited: EditedModel) -> None:
    for name in list(edited.edits):
        edited.rollback(name)


@pytest.fixture
def clean(edited: EditedModel) -> Iterator[EditedModel]:
    before = weights_hash(edited.backbone.model)
    take_all_back(edited)
    yield edited
    take_all_back(edited)
    assert weights_hash(edited.backbone.model) == before
    hooked = [m for m in edited.backbone.model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not [m for m in hooked if any("ldke_pl" in h.__module__ for h in m._forward_hooks.values())]


def answers(model: EditedModel, questions: list[Question], routes: Routes | None = None, **kwargs: object) -> list[str]:
    batch = model.backbone.prompts.encode(questions)
    ids = model.generate(routes=routes, **batch, max_new_tokens=12, **kwargs)
    return model.backbone.prompts.decode(ids[:, batch["input_ids"].shape[1] :])


def test_a_batch_of_eight_gives_the_deltas_of_eight_single_runs(edited: EditedModel) -> None:
    editor = edited.editor
    assert isinstance(editor, LDKE)
    short = replace(editor.config, steps=6)
    together = LDKE(edited.backbone, replace(short, batch_size=8), editor.sites).edit(requests())
    apart = LDKE(edited.backbone, replace(short, batch_size=1), editor.sites).edit(requests())
    for a, b in zip(together, apart, strict=True):
        assert a.sites == b.sites
        for name in a.deltas:
            for x, y in zip(a.deltas[name].factors, b.deltas[name].factors, strict=True):
                torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4)


def test_a_base_row_is_bit_equal_to_the_base_on_the_same_batch(clean: EditedModel) -> None:
    ids = clean.edit(requests())
    for side in ("left", "right"):
        asked = [Question(drawn(0), "Which country is this?"), Question(None, "Who leads Balumo?")]
        asked += [Question(drawn(5), "Who leads this country?"), Question(drawn(6), "What is the background colour?")]
        batch = clean.backbone.prompts.encode(asked, padding_side=side)
        routes = Routes([ids[0], BASE, ids[5], BASE], [ids[0], ids[5], BASE])
        with torch.no_grad():
            base, after = clean.backbone.model(**batch).logits, clean(routes=routes, **batch).logits
        for row in (1, 3):
            assert torch.equal(base[row], after[row])
        for row in (0, 2):
            assert not torch.equal(base[row], after[row])


def test_generate_takes_cache_beams_and_samples(clean: EditedModel) -> None:
    (first, second) = clean.edit(requests()[:1] + requests()[4:5])
    asked = [Question(drawn(0), "Which country is this?")] * 2 + [Question(drawn(4), requests()[4].prompt)]
    routes = Routes([first, BASE, second], [first, BASE, second])
    said = answers(clean, asked, routes)
    assert said[0] != said[1]
    assert answers(clean, asked, routes, use_cache=False) == said
    alone = answers(clean, asked[1:2], Routes([BASE], [BASE]), num_beams=4)
    assert answers(clean, asked, routes, num_beams=4)[1] == alone[0]
    torch.manual_seed(0)
    assert len(answers(clean, asked, routes, do_sample=True, num_return_sequences=3)) == 9


def test_disabled_is_the_base_also_nested_and_after_exceptions(clean: EditedModel) -> None:
    question = [Question(drawn(0), "Which country is this?")]
    base = answers(clean, question)
    clean.edit(requests()[:1])
    after = answers(clean, question)
    with clean.disabled():
        with pytest.raises(RuntimeError), clean.disabled():
            raise RuntimeError
        assert answers(clean, question) == base
    assert answers(clean, question) == after != base


def test_later_turns_system_prompts_and_padding_keep_the_route(clean: EditedModel) -> None:
    clean.edit(requests()[:1])
    processor, asked = clean.backbone.processor, "Which country is this?"
    content = [{"type": "image"}, {"type": "text", "text": asked}]
    plain = [{"role": "user", "content": content}]
    system = [{"role": "system", "content": "You are a helpful assistant."}, *plain]
    shape = [{"type": "image"}, {"type": "text", "text": "What is the background colour?"}]
    told, again = {"role": "assistant", "content": "grey"}, {"role": "user", "content": asked}
    chats = [plain, system, [{"role": "user", "content": shape}, told, again]]
    texts = [processor.apply_chat_template(chat, add_generation_prompt=True) for chat in chats]
    batch = processor(text=texts, images=[drawn(0)] * 3, padding=True, return_tensors="pt")
    rows = clean.route(dict(batch)).rows
    assert rows[0] != BASE
    assert len(set(rows)) == 1


def test_only_the_edited_one_of_two_pictures_changes(clean: EditedModel) -> None:
    (first,) = clean.edit(requests()[:1])
    processor = clean.backbone.processor
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Which country is this?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    batch = processor(text=[text], images=[drawn(0), drawn(1)], return_tensors="pt")
    with torch.no_grad():
        base = clean.backbone.model(**batch).image_hidden_states
        after = clean(routes=Routes([first], [first, BASE]), **batch).image_hidden_states
    assert not torch.equal(base[:16], after[:16])
    assert torch.equal(base[16:], after[16:])


def test_saved_edits_give_the_same_answers(clean: EditedModel, tmp_path: Path) -> None:
    clean.edit(requests())
    questions = [Question(r.image, r.prompt) for r in requests()]
    said = answers(clean, questions)
    clean.save(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"edit_config.json", "edits.safetensors", "router.safetensors"}
    assert answers(EditedModel.load(tmp_path), questions) == said


def test_a_damaged_or_foreign_artefact_is_refused(clean: EditedModel, tmp_path: Path) -> None:
    clean.edit(requests()[:1])
    clean.save(tmp_path)
    other = EditedModel.from_pretrained("atlas").backbone
    with torch.no_grad():
        other.model.get_input_embeddings().weight[300, 0] += 1
    other.model.save_pretrained(tmp_path / "other")
    other.processor.save_pretrained(tmp_path / "other")
    with pytest.raises(ArtefactError, match="fingerprint"):
        EditedModel.load(tmp_path, str(tmp_path / "other"))
    whole = (tmp_path / "edits.safetensors").read_bytes()
    (tmp_path / "edits.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError, match=r"edits\.safetensors"):
        EditedModel.load(tmp_path)


def test_a_new_edit_of_a_fact_supersedes_and_rollback_restores(clean: EditedModel) -> None:
    request = requests()[4]
    (old,) = clean.edit([request])
    (other,) = clean.edit(requests()[5:6])
    (new,) = clean.edit([replace(request, target="Qq")])
    assert [e.edit_id for e in clean.active] == [other, new]
    asked = [Question(requests()[5].image, requests()[5].prompt)]
    before = answers(clean, asked)
    clean.rollback(new)
    assert [e.edit_id for e in clean.active] == [old, other]
    assert answers(clean, asked) == before
    with pytest.raises(EditError, match="no edit"):
        clean.rollback(new)
