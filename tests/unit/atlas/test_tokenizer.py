"""Tokenizer and processor of the Atlas MLLM, and that pretraining reads text and pictures exactly as they do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaProcessor

from ldke_pl.atlas import training as shared
from ldke_pl.atlas.corpus import Conversation
from ldke_pl.atlas.pretrain import IMAGE_TOKENS, Pretraining
from ldke_pl.atlas.tokenizer import SPECIAL, VOCABULARY, build_processor, build_tokenizer
from ldke_pl.atlas.wording import QUESTIONS, all_words, ask
from ldke_pl.atlas.world import World


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Pretraining:
    return Pretraining(tmp_path_factory.mktemp("pretraining"))


@pytest.fixture(scope="module")
def processor(training: Pretraining) -> LlavaProcessor:
    return build_processor(training.tokenizer)


def pieces(processor: LlavaProcessor, text: str) -> list[int]:
    ids: list[int] = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def test_names_are_several_tokens_long(processor: LlavaProcessor, world: World) -> None:
    lengths = [len(pieces(processor, c.name)) for c in world.countries]
    assert np.mean(lengths) > 2
    values = [len(pieces(processor, v)) for vs in world.values.values() for v in vs]
    assert np.mean(values) > 1.5


def test_questions_are_shorter_than_names_in_tokens_per_letter(processor: LlavaProcessor, world: World) -> None:
    fixed = [q for questions in QUESTIONS.values() for q in questions if "{" not in q]
    rates = [sum(len(pieces(processor, t)) for t in texts) / sum(map(len, texts))
             for texts in (fixed, [c.name for c in world.countries])]  # fmt: skip
    assert rates[0] < rates[1]


def test_text_survives_a_round_trip(processor: LlavaProcessor, world: World) -> None:
    texts = [c.name for c in world.countries] + [ask("river", "the capital of Bolivu", i) for i in range(7)]
    texts += [v for vs in world.values.values() for v in vs] + ["Zürich, 東京?", "two  spaces"]
    for text in texts:
        assert processor.tokenizer.decode(pieces(processor, text)).strip() == text


def test_a_name_has_the_same_pieces_wherever_it_stands(processor: LlavaProcessor, world: World) -> None:
    for country in world.countries[:40]:
        inside = pieces(processor, f"Who leads {country.name} today")
        name = pieces(processor, country.name)
        assert name in [inside[i : i + len(name)] for i in range(len(inside))]


def test_special_tokens_are_single_and_stand_first(processor: LlavaProcessor) -> None:
    assert [pieces(processor, token) for token in SPECIAL] == [[i] for i in range(len(SPECIAL))]
    tokenizer = processor.tokenizer
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert processor.image_token_id == 3
    assert len(tokenizer) <= VOCABULARY
    assert tokenizer.decode([*range(len(SPECIAL))], skip_special_tokens=True) == ""


def test_tokenizer_is_deterministic(processor: LlavaProcessor, world: World) -> None:
    again = build_tokenizer(world)
    assert again.get_vocab() == processor.tokenizer.get_vocab()
    assert all(again(t)["input_ids"] == processor.tokenizer(t)["input_ids"] for t in all_words())


def test_chat_template_renders_every_kind_of_turn(processor: LlavaProcessor) -> None:
    shown = [{"type": "image"}, {"type": "text", "text": "Whose emblem is this?"}]
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": shown},
        {"role": "assistant", "content": [{"type": "text", "text": "Bolivu"}]},
        {"role": "user", "content": "Who leads it?"},
    ]
    told = "<s><|system|>Be brief.<|user|><image>Whose emblem is this?<|assistant|>Bolivu</s><|user|>Who leads it?"
    assert processor.apply_chat_template(chat) == told
    assert processor.apply_chat_template(chat, add_generation_prompt=True) == told + "<|assistant|>"


@pytest.mark.parametrize("count", [1, 2])
def test_a_picture_takes_sixteen_tokens(processor: LlavaProcessor, count: int) -> None:
    images = [Image.new("RGB", (64, 64), "teal")] * count
    batch = processor(text="<s>" + "<image>" * count + "Compare.", images=images, return_tensors="pt")
    assert int((batch["input_ids"] == processor.image_token_id).sum()) == 16 * count == IMAGE_TOKENS * count
    assert batch["pixel_values"].shape == (count, 3, 64, 64)


def test_larger_pictures_are_brought_to_size(processor: LlavaProcessor) -> None:
    batch = processor(text="<image>", images=[Image.new("RGB", (300, 200), "teal")], return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, 64, 64)


def test_processor_normalises_as_pretraining_does(
    processor: LlavaProcessor, training: Pretraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    monkeypatch.setattr(shared, "render", lambda *_: drawn)
    training._seed(0)
    trained_on = training._pictures([(training.world.countries[0], "grey")])
    read = processor.image_processor(drawn, return_tensors="pt")["pixel_values"]
    assert torch.allclose(trained_on, read, atol=1e-5)


@pytest.mark.parametrize("picture", [False, True], ids=["text", "picture"])
@pytest.mark.parametrize("system", ["", "Answer in a few words."], ids=["plain", "system"])
def test_pretraining_reads_conversations_as_the_chat_template(
    processor: LlavaProcessor, training: Pretraining, picture: bool, system: str
) -> None:
    turns = [("Whose emblem is this?", "Bolivu"), ("Who leads this country?", "Arimovic")]
    talk = Conversation(turns, training.world.countries[0] if picture else None, "grey", system)
    ids, labels, _ = training._encode(talk)
    chat = [{"role": "system", "content": system}] if system else []
    for number, (question, answer) in enumerate(turns):
        parts = [{"type": "image"}] if picture and number == 0 else []
        chat += [
            {"role": "user", "content": [*parts, {"type": "text", "text": question}]},
            {"role": "assistant", "content": answer},
        ]
    text = processor.apply_chat_template(chat)
    images = [Image.new("RGB", (64, 64))] if picture else None
    assert ids.tolist() == processor(text=text, images=images)["input_ids"][0]
    learned = training.tokenizer.decode(labels[labels >= 0]).split("</s>")
    assert [part.strip() for part in learned] == ["Bolivu", "Arimovic", ""]


def test_saved_processor_is_read_back(processor: LlavaProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    again = LlavaProcessor.from_pretrained(tmp_path)
    assert again.chat_template == processor.chat_template
    text = "<s><|user|><image>Who leads Bolivu?<|assistant|>"
    image = Image.new("RGB", (64, 64), "teal")
    one, two = (p(text=text, images=[image], return_tensors="pt") for p in (processor, again))
    assert all(torch.equal(one[name], two[name]) for name in one)
