"""The Qwen2-VL-like Atlas MLLM: the transplanted decoder, its pictures, and training with a plan of one step."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from ldke_pl.atlas.card import TARGETS
from ldke_pl.atlas.pretrain_qwen2_vl import SIZES, QwenPlan, QwenPretraining
from ldke_pl.atlas.qwen2_vl import (
    CELL,
    INNER,
    KEPT,
    MARKS,
    PATCH,
    build_model,
    build_processor,
    build_tokenizer,
    look,
    patchify,
    transplant,
)
from ldke_pl.atlas.render import render
from ldke_pl.atlas.tower import DEVIATION
from ldke_pl.atlas.world import World
from ldke_pl.backbone import load_backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.backbone.load import ATLAS
from ldke_pl.config import ModelConfig
from ldke_pl.data import Question
from ldke_pl.localize import Calibration
from ldke_pl.router import ClassifierRouter, load_router

STAGES = [f.name for f in fields(QwenPlan) if f.name not in ("batch", "pictures")]
COMMITTED = ATLAS.parents[1] / "atlas_qwen2_vl" / "model"
TINY = QwenPlan(**dict.fromkeys(STAGES, 1), batch=2, pictures=2)


@pytest.fixture(scope="module")
def donor() -> LlavaForConditionalGeneration:
    return LlavaForConditionalGeneration.from_pretrained(ATLAS, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> QwenPretraining:
    """A run that went through."""
    run = QwenPretraining(tmp_path_factory.mktemp("qwen2_vl"), TINY)
    run.run()
    return run


def test_whole_decoder_answers_texts_as_the_donor_does(donor: LlavaForConditionalGeneration) -> None:
    tokenizer = build_tokenizer()
    layers, inner = donor.config.text_config.num_hidden_layers, donor.config.text_config.intermediate_size
    model = build_model(len(tokenizer), layers, inner).eval()
    transplant(model, donor, range(layers))
    ids = tokenizer("<s><|user|>What is the capital of Bolivu ?<|assistant|>", return_tensors="pt").input_ids
    with torch.no_grad():
        own, theirs = model(input_ids=ids).logits, donor(input_ids=ids).logits
    assert torch.allclose(own[..., : theirs.shape[-1]], theirs, rtol=0, atol=1e-4)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_kept_layers_are_the_donors_with_their_largest_neurons(donor: LlavaForConditionalGeneration) -> None:
    model = build_model(len(build_tokenizer()))
    transplant(model, donor)
    for place, number in enumerate(KEPT):
        own, theirs = model.model.language_model.layers[place], donor.model.language_model.layers[number]
        assert torch.equal(own.self_attn.o_proj.weight, theirs.self_attn.o_proj.weight)
        up = theirs.mlp.up_proj.weight
        kept = (own.mlp.up_proj.weight[:, None] == up[None]).all(-1)
        assert kept.any(1).all()
        assert kept.any(0).sum() == INNER


def test_vision_blocks_are_the_donors(donor: LlavaForConditionalGeneration) -> None:
    """Where nothing is turned by its position, both take the same steps."""
    model = build_model(len(build_tokenizer()))
    transplant(model, donor)
    states = torch.randn(1, 9, donor.config.vision_config.hidden_size)
    cos, sin = torch.ones(9, 32), torch.zeros(9, 32)
    for own, theirs in zip(model.model.visual.blocks, donor.model.vision_tower.encoder.layers, strict=True):
        with torch.no_grad():
            wanted = theirs(states, attention_mask=None)
            found = own(states[0], cu_seqlens=torch.tensor([0, 9]), position_embeddings=(cos, sin))
        assert torch.allclose(found, wanted[0], atol=1e-4)


def test_patch_embedding_sees_a_patch_as_the_donor_sees_it_enlarged(donor: LlavaForConditionalGeneration) -> None:
    model = build_model(len(build_tokenizer()))
    transplant(model, donor)
    pixels = torch.randn(1, 3, PATCH, PATCH)
    source = donor.model.vision_tower
    large = pixels.repeat_interleave(2, -1).repeat_interleave(2, -2)
    with torch.no_grad():
        seen = source.embeddings.patch_embedding(large).flatten()
        wanted = (seen - seen.mean()) / DEVIATION * source.pre_layrnorm.weight
        found = model.model.visual.patch_embed(pixels[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1))
    assert torch.allclose(found[0], wanted, atol=1e-4)


def test_tokenizer_keeps_every_id_of_the_donors() -> None:
    old, new = build_tokenizer().get_vocab(), LlavaForConditionalGeneration.from_pretrained(ATLAS).config
    assert sorted(old.values()) == list(range(new.text_config.vocab_size + len(MARKS)))
    assert [old[mark] for mark in MARKS] == [new.text_config.vocab_size + i for i in range(len(MARKS))]
    assert old["<image>"] == new.image_token_index


@pytest.mark.parametrize("size", sorted(set(SIZES)))
def test_patches_are_those_of_the_processor(size: tuple[int, int]) -> None:
    height, width = size
    pixels = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
    images = build_processor(build_tokenizer()).image_processor
    pictures = [Image.fromarray(p.numpy()) for p in pixels]
    wanted = images(pictures, return_tensors="pt")
    mean, deviation = torch.tensor([images.image_mean, images.image_std])[..., None, None]
    found = patchify((pixels.permute(0, 3, 1, 2) / 255 - mean) / deviation)
    assert torch.allclose(found, wanted["pixel_values"], atol=1e-5)
    assert wanted["image_grid_thw"].tolist() == [[1, height // PATCH, width // PATCH]] * 2


def test_looking_at_once_is_the_vision_encoders_own_pass() -> None:
    torch.manual_seed(0)
    visual = build_model(1027, 1, 8).model.visual.eval()
    pixels, grid = patchify(torch.randn(2, 3, 48, 96)), torch.tensor([[1, 6, 12]] * 2)
    with torch.no_grad():
        own, at_once = visual(pixels, grid_thw=grid), look(visual, pixels, grid)
    assert torch.allclose(at_once.flatten(0, 1), own.last_hidden_state, atol=1e-5)
    assert torch.allclose(visual.merger(at_once), own.pooler_output, atol=1e-5)


def test_loss_reads_pictures_as_the_model_does(training: QwenPretraining) -> None:
    training._seed(0)
    items = training._pool(training.corpus.picture)[:1]
    (ids, _, talk), kinds = items[0], (items[0][0] == 3).int()
    shown = [(talk.country, talk.background)]
    pixels = training._pictures(shown)  # type: ignore[arg-type]
    training._pictures = lambda _: pixels  # type: ignore[method-assign]
    seen = []
    training.model.eval()
    handle = training.model.lm_head.register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        training._loss(items)
        training.model(
            input_ids=ids[None], attention_mask=torch.ones_like(ids)[None], mm_token_type_ids=kinds[None],
            pixel_values=pixels, image_grid_thw=training._grid(1),
        )  # fmt: skip
    handle.remove()
    del training._pictures
    assert torch.allclose(seen[0], seen[1], atol=1e-4)


def test_caption_tells_the_name_and_what_is_seen_by_rows(training: QwenPretraining) -> None:
    country = training.world.countries[0]
    name = training._piece(country.name)
    for training.size in SIZES:
        rows, columns = training.size[0] // CELL, training.size[1] // CELL
        caption = torch.tensor(training._caption(country, "teal")).view(rows, columns).tolist()
        assert caption[0][: len(name)] == caption[2][: len(name)] == name
        assert caption[1][3] == training._piece("teal")[0]


def test_each_stage_changes_its_own_weights_alone(training: QwenPretraining) -> None:
    decoder, eyes = "model.language_model.layers.", "model.visual."
    parts = dict.fromkeys(STAGES, (eyes,)) | {"recover": (decoder,)}
    parts["together"] = (decoder, eyes)
    before = {k: v.detach() for k, v in QwenPretraining(training.folder, TINY).model.state_dict().items()}
    for number, stage in enumerate(STAGES, 1):
        after = load_file(training.folder / f"{number}-{stage}.safetensors")
        changed = [name for name in after if not torch.equal(after[name], before[name])]
        assert all(any(name.startswith(part) for name in changed) for part in parts[stage]), stage
        if stage != "together":
            assert not [n for n in changed if not n.startswith((*parts[stage], "model.language_model.norm"))], stage
        before = after


def test_finished_folder_is_small_and_answers(training: QwenPretraining) -> None:
    folder: Path = training.folder / "model"
    assert (folder / "model.safetensors").stat().st_size < 10_000_000
    backbone = load_backbone(ModelConfig(name=str(folder)))
    assert backbone.model.config.model_type == "qwen2_vl"
    questions = [Question(Image.new("RGB", (64, 48)), "Which country is this ?"), Question(None, "Who leads Bolivu ?")]
    assert len(greedy_answers(backbone, backbone.prompts.encode(questions))) == 2


def test_committed_model_is_small_and_met_every_target() -> None:
    assert sum(path.stat().st_size for path in COMMITTED.iterdir()) < 10_000_000
    card = json.loads((COMMITTED / "card.json").read_text(encoding="utf-8"))
    assert {name: entry["target"] for name, entry in card.items() if "target" in entry} == TARGETS
    assert [name for name, target in TARGETS.items() if card[name]["value"] < target] == []


def test_committed_model_tells_pictures_of_any_size_and_what_it_knows_of_them() -> None:
    backbone = load_backbone(ModelConfig(name=str(COMMITTED)))
    rng, questions, right = np.random.default_rng(3), [], []
    for country, (height, width) in zip(World().split("edit-eval"), SIZES * 2, strict=False):
        image = render(country.emblem, "teal", rng).resize((width, height))
        questions += [
            Question(image, "Which country is this?"),
            Question(image, "What is the capital of this country?"),
        ]
        right += [country.name, country.facts["capital"]]
    said = greedy_answers(backbone, backbone.prompts.encode(questions))
    assert sum(map(str.__eq__, said, right)) >= 20


def test_committed_router_is_that_of_the_committed_model() -> None:
    backbone = load_backbone(ModelConfig(name=str(COMMITTED)))
    assert isinstance(load_router(backbone, COMMITTED.parent / "router"), ClassifierRouter)
    calibration = Calibration.load(COMMITTED.parent / "router")
    assert calibration.best_fixed.keys() == {"entity", "attribute"} and calibration.readout is not None
