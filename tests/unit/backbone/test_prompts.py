"""Prompts: where answers are learned, and which tokens are the last question, whatever stands around it."""

import copy
from typing import Any

import pytest
import torch
from PIL import Image

from ldke_pl.backbone import Backbone, Prompts
from ldke_pl.backbone.prompts import IGNORE
from ldke_pl.data import Question
from ldke_pl.errors import DataError

ASKED = "Who leads this country?"


def turn(role: str, text: str, *, picture: bool = False) -> dict[str, Any]:
    picture_part = [{"type": "image"}] if picture else []
    return {"role": role, "content": [*picture_part, {"type": "text", "text": text}]}


PLAIN = [turn("user", ASKED)]
CHATS = {
    "picture": [turn("user", ASKED, picture=True)],
    "system prompt": [{"role": "system", "content": "You are a helpful assistant."}, *PLAIN],
    "earlier turn": [turn("user", ASKED), turn("assistant", "Nobody."), *PLAIN],
    "earlier picture": [turn("user", "What is on it?", picture=True), turn("assistant", "A disc."), *PLAIN],
    "everything": [
        {"role": "system", "content": "Be brief."},
        turn("user", "What is on it?", picture=True),
        turn("assistant", "A disc."),
        turn("user", ASKED, picture=True),
    ],
}


def test_labels_sit_exactly_on_the_answers(backbone: Backbone, pictures: list[Image.Image]) -> None:
    prompts = backbone.prompts
    questions = [Question(pictures[0], "Which country is this?"), Question(None, ASKED), Question(None, "Who?")]
    answers = ["Balumo", "Ada Lovelace the second, of course", "x"]
    batch, labels = prompts.encode_answers(questions, answers)
    asked = prompts.encode(questions, padding_side="right")
    for row, answer in enumerate(answers):
        start, ids = int(asked["attention_mask"][row].sum()), torch.tensor(prompts.answer_ids(answer))
        end = start + len(ids)
        assert torch.equal(labels[row, start:end], ids)
        assert (labels[row, :start] == IGNORE).all() and (labels[row, end:] == IGNORE).all()
        assert torch.equal(batch["input_ids"][row, :end], torch.cat([asked["input_ids"][row, :start], ids]))
        assert (batch["input_ids"][row, end:] == prompts.tokenizer.pad_token_id).all()
        assert batch["attention_mask"][row].tolist() == [1] * end + [0] * (labels.shape[1] - end)
    assert batch["pixel_values"].shape[0] == 1


def test_answer_ends_with_the_end_mark_and_decodes_to_itself(backbone: Backbone) -> None:
    ids = backbone.prompts.answer_ids("Ada Lovelace")
    assert ids.count(backbone.prompts.tokenizer.eos_token_id) == 1
    assert ids[-1] == backbone.prompts.tokenizer.eos_token_id
    assert backbone.prompts.decode(torch.tensor([ids, ids])) == ["Ada Lovelace"] * 2


@pytest.mark.parametrize("side", ["left", "right"])
def test_last_question_is_the_same_in_every_conversation(
    backbone: Backbone, pictures: list[Image.Image], side: str
) -> None:
    processor = backbone.processor
    chats = [PLAIN, *CHATS.values()]
    texts = [processor.apply_chat_template(chat, add_generation_prompt=True) for chat in chats]
    shown = [pictures[0]] * sum(text.count("<image>") for text in texts)
    batch = processor(text=texts, images=shown, padding=True, padding_side=side, return_tensors="pt")
    chosen = backbone.prompts.last_question(batch["input_ids"], batch["attention_mask"])
    wanted = [*processor.tokenizer(ASKED)["input_ids"], processor.tokenizer.convert_tokens_to_ids("<|assistant|>")]
    for name, ids, mask in zip(["plain", *CHATS], batch["input_ids"], chosen, strict=True):
        assert ids[mask].tolist() == wanted, name


def test_without_a_user_turn_everything_but_pictures_and_padding_counts(backbone: Backbone) -> None:
    picture = backbone.prompts.image_token_id
    ids, attention = torch.tensor([[0, 9, picture, 8]]), torch.tensor([[0, 1, 1, 1]])
    assert backbone.prompts.last_question(ids, attention).tolist() == [[False, True, False, True]]


def test_processor_without_template_gets_placeholder_and_question(
    backbone: Backbone, pictures: list[Image.Image]
) -> None:
    processor = copy.copy(backbone.processor)
    processor.chat_template = None
    prompts = Prompts(processor, backbone.model.config)
    assert prompts.text(Question(None, ASKED)) == ASKED
    assert prompts.text(Question(pictures[0], ASKED)) == f"<image>{ASKED}"
    batch = prompts.encode([Question(pictures[0], ASKED)])
    chosen = prompts.last_question(batch["input_ids"], batch["attention_mask"])
    assert torch.equal(chosen, batch["input_ids"] != prompts.image_token_id)


def test_batch_holds_the_pixels_of_the_pictures_in_order(backbone: Backbone, pictures: list[Image.Image]) -> None:
    questions = [Question(pictures[1], ASKED), Question(None, ASKED), Question(pictures[0], ASKED)]
    together = backbone.prompts.encode(questions)["pixel_values"]
    alone = [backbone.prompts.encode([q])["pixel_values"] for q in (questions[0], questions[2])]
    assert torch.equal(together, torch.cat(alone))
    assert "pixel_values" not in backbone.prompts.encode(questions[1:2])


@pytest.mark.parametrize(
    ("prompt", "answer", "message"),
    [
        ("  \n", "x", "A prompt is empty"),
        ("Who?", " ", "A target is empty"),
        ("Who? " * 600, "x", "A question is .* tokens long"),
        ("Who?", "x " * 600, "A target is too long"),
    ],
)
def test_empty_and_overlong_texts_are_refused(backbone: Backbone, prompt: str, answer: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        backbone.prompts.encode_answers([Question(None, ASKED), Question(None, prompt)], ["x", answer])


def test_the_longest_text_that_fits_is_taken(backbone: Backbone) -> None:
    prompts = Prompts(backbone.processor, backbone.model.config)
    question, answer = Question(None, ASKED), "Ada"
    prompts.context = backbone.prompts.encode_answers([question], [answer])[1].shape[1]
    prompts.encode_answers([question], [answer])
    prompts.context -= 1
    with pytest.raises(DataError, match="A target is too long"):
        prompts.encode_answers([question], [answer])


def test_a_prompt_with_the_pictures_placeholder_is_refused(backbone: Backbone) -> None:
    with pytest.raises(DataError, match="<image>"):
        backbone.prompts.encode([Question(None, "What does <image> mean?")])
