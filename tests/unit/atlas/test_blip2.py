"""The BLIP-2-like Atlas MLLM: the transplanted decoder, its processor, and training with a plan of one step."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from ldke_pl.atlas.blip2 import QUERIES, build_processor, build_tokenizer, transplant
from ldke_pl.atlas.pretrain_blip2 import BlipPlan, BlipPretraining
from ldke_pl.atlas.render import render
from ldke_pl.atlas.training import padded
from ldke_pl.atlas.world import BACKGROUNDS, World
from ldke_pl.backbone import load_backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.backbone.load import ATLAS
from ldke_pl.config import ModelConfig
from ldke_pl.data import Question

STAGES = [f.name for f in fields(BlipPlan) if f.name not in ("batch", "pictures")]
TINY = BlipPlan(**dict.fromkeys(STAGES, 1), batch=2, pictures=2)
ENCODER, QFORMER, PROJECTION, DECODER = PARTS = "vision_model.", "q", "language_projection.", "language_model."
CHANGED = {
    "caption": (ENCODER, QFORMER),
    "align": (PROJECTION,),
    "instruct": PARTS,
    "settle": PARTS[:3],
    "sharpen": PARTS[:3],
}
"""Stage -> what the names of the weights that it trains begin with."""


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> BlipPretraining:
    """A run that went through."""
    run = BlipPretraining(tmp_path_factory.mktemp("blip2"), TINY)
    run.run()
    return run


def test_decoder_answers_texts_as_the_donor_does() -> None:
    donor = LlavaForConditionalGeneration.from_pretrained(ATLAS, dtype=torch.float32).eval()
    model = transplant(donor).eval()
    ids = build_tokenizer()("<s><|user|>What is the capital of Bolivu ?<|assistant|>", return_tensors="pt").input_ids
    with torch.no_grad():
        own, theirs = model.language_model(input_ids=ids).logits, donor(input_ids=ids).logits
    assert torch.allclose(own, theirs, rtol=0, atol=1e-4)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_encoder_sees_as_the_donors_does() -> None:
    """But for the norm before the first block, for which an average stands."""
    donor = LlavaForConditionalGeneration.from_pretrained(ATLAS, dtype=torch.float32).eval()
    generator = np.random.default_rng(0)
    drawn = [render(country.emblem, BACKGROUNDS[0], generator) for country in World().countries[:8]]
    pixels = build_processor(build_tokenizer()).image_processor(drawn, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        wanted = donor.model.vision_tower(pixels).last_hidden_state
        found = transplant(donor).eval().vision_model(pixels).last_hidden_state
    wanted = F.layer_norm(wanted, wanted.shape[-1:])  # as this encoder ends with
    assert F.cosine_similarity(found, wanted, dim=-1).mean() > 0.98


def test_pictures_and_their_tokens_are_those_of_the_processor(training: BlipPretraining) -> None:
    training._seed(0)
    ids, labels, shown = padded(training._pool(training.corpus.captioned)[:1])
    country, background = shown[0]
    processor = build_processor(training.tokenizer)
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Whose emblem is this?"}]}]
    text = processor.apply_chat_template(turn, add_generation_prompt=True)
    training._seed(0)
    drawn = training._render(country, background)
    inputs = processor(text=text, images=drawn, return_tensors="pt")
    training._seed(0)
    assert torch.allclose(training._pictures(shown), inputs["pixel_values"], atol=1e-5)
    asked = training._encode(training.corpus.captioned(training.rng))[0].tolist()
    assert asked.count(3) == inputs["input_ids"][0].tolist().count(3) == QUERIES
    assert labels.shape == ids.shape


def test_a_picture_read_as_its_words_costs_the_caption_alone(
    training: BlipPretraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs that are the caption's own words leave no distance between the states."""
    training._seed(0)
    items = training._pool(training.corpus.captioned)[:4]
    ids, labels, shown = padded(items)
    words = training._captions(shown)
    table = training.model.get_input_embeddings()
    monkeypatch.setattr(training, "_connected", lambda _: table(words))
    with torch.no_grad():
        found = training._read_alike(items)
        told = ids.masked_scatter(ids == 3, words)
        inputs = {"input_ids": told, "attention_mask": (ids != 0).long(), "labels": labels}
        alone = training.model.language_model(**inputs).loss
        ratio = (table(words).norm(dim=-1) / table.weight.norm(dim=-1).mean()).log()
    assert torch.allclose(found, alone + 0.1 * ratio.square().mean(), rtol=1e-4)


def test_captions_ask_no_attribute(training: BlipPretraining) -> None:
    training._seed(0)
    for _ in range(200):
        talk = training.corpus.captioned(training.rng)
        assert talk.country
        known = {talk.country.emblem.charge, talk.country.emblem.charge_colour, talk.country.emblem.pattern}
        assert {answer for _, answer in talk.turns} <= known | {talk.country.name, talk.background}


def test_each_stage_changes_its_own_weights_alone(training: BlipPretraining) -> None:
    before = {k: v.detach() for k, v in BlipPretraining(training.folder, TINY).model.state_dict().items()}
    for number, stage in enumerate(STAGES, 1):
        after = load_file(training.folder / f"{number}-{stage}.safetensors")
        changed = [name for name in after if not torch.equal(after[name], before[name])]
        assert all(any(name.startswith(part) for name in changed) for part in CHANGED[stage]), stage
        assert not [name for name in changed if not name.startswith(CHANGED[stage])], stage
        before = after


def test_finished_folder_answers(training: BlipPretraining) -> None:
    folder: Path = training.folder / "model"
    backbone = load_backbone(ModelConfig(name=str(folder)))
    assert backbone.model.config.model_type == "blip-2"
    assert list(backbone.sites["connector"].slots) == ["language_projection"]
    assert backbone.prompts.grammar.header == [backbone.prompts.tokenizer.convert_tokens_to_ids("<|user|>")]
    questions = [Question(Image.new("RGB", (64, 48)), "Which country is this ?"), Question(None, "Who leads Bolivu ?")]
    assert len(greedy_answers(backbone, backbone.prompts.encode(questions))) == 2
